import { mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { decode, encode } from '@ipld/dag-cbor';
import { open, type RootDatabase } from 'lmdb';
import { z } from 'zod';
import type { Address } from '../../policy/address.ts';
import { assertSound } from '../store/environment.ts';
import { StoreFault } from '../store/fault.ts';
import type { RecipientOptions } from './letter.ts';

/** What has to be known of a notification on its way to tell its sender how it ended. */
export interface SentNote {
  /** Whom the notification is for: a recipient in the ring, or the gateway. */
  readonly to: Address;
  readonly via: 'ring' | 'gateway';
  /** Envelope of the message, as far as this notification carries it. */
  readonly sender: string;
  readonly recipients: readonly string[];
  readonly envid?: string | undefined;
  /** RFC 3461 §4.1 and §4.2, by place in `recipients`; absent where nothing was asked. */
  readonly dsn?: readonly (RecipientOptions | null)[] | undefined;
  /** Beginning of the message; a notice shows its header. */
  readonly header: Uint8Array;
  readonly at: number;
  readonly traceId: string;
  /** Of what was forwarded: the message as it came, under its id in the inbox, and whether it is there. */
  readonly forwarded?: { readonly message: Uint8Array; readonly id: Uint8Array; readonly kept: boolean } | undefined;
  /** The list that it was sent to a member of: its owners are told of failures, not its author. */
  readonly list?: Address | undefined;
}

const shape = z.strictObject({
  to: z.string().transform((address) => address as Address),
  via: z.enum(['ring', 'gateway']),
  sender: z.string(),
  recipients: z.array(z.string()),
  envid: z.string().optional(),
  dsn: z.array(z.strictObject({ notify: z.array(z.string()), orcpt: z.string().optional() }).nullable()).optional(),
  header: z.instanceof(Uint8Array),
  at: z.int(),
  traceId: z.string(),
  forwarded: z
    .strictObject({ message: z.instanceof(Uint8Array), id: z.instanceof(Uint8Array), kept: z.boolean() })
    .optional(),
  list: z
    .string()
    .transform((address) => address as Address)
    .optional(),
});

// Of a message's header this much is kept: enough to recognise it by, and 10,000 notes stay below 100 MB.
const maxHeaderOctets = 8 * 1024;
// A notification lives for 14 days (DESIGN §8); after this nothing is heard of it any more.
const forgetMs = 21 * 86_400_000;

/** The notifications that a user's messages went out in and that were not answered yet, on this node's disk. */
export class SentBook {
  readonly #db: RootDatabase<Uint8Array, Uint8Array>;

  private constructor(db: RootDatabase<Uint8Array, Uint8Array>) {
    this.#db = db;
  }

  /** `dir` is this book's own folder. Forgets what is too old to be answered. */
  static async open(dir: string, now: number): Promise<SentBook> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const file = path.join(dir, 'data.mdb');
    try {
      assertSound(file);
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      // Notices are lost with it, nothing else; the mailbox must not stay closed for that.
      await rename(file, `${file}.damaged`);
    }
    const db = open<Uint8Array, Uint8Array>({
      path: dir,
      encoding: 'binary',
      keyEncoding: 'binary',
      overlappingSync: false,
    });
    const book = new SentBook(db);
    for (const { id, note } of book.outstanding()) if (note.at < now - forgetMs) await book.settle(id);
    return book;
  }

  /** On disk when it resolves. */
  async note(id: Uint8Array, note: SentNote): Promise<void> {
    const { dsn, ...rest } = note;
    const header = note.header.slice(0, maxHeaderOctets);
    // DAG-CBOR has no undefined.
    const present = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
    await this.#db.put(id, encode({ ...present, ...asked(dsn), header }));
  }

  find(id: Uint8Array): SentNote | undefined {
    const bytes = this.#db.getBinary(id);
    return bytes === undefined ? undefined : read(bytes);
  }

  outstanding(): readonly { readonly id: Uint8Array; readonly note: SentNote }[] {
    return [...this.#db.getRange({ snapshot: false })].flatMap(({ key, value }) => {
      const note = read(value);
      return note === undefined ? [] : [{ id: Uint8Array.from(key), note }];
    });
  }

  async settle(id: Uint8Array): Promise<void> {
    await this.#db.remove(id);
  }

  async close(): Promise<void> {
    await this.#db.close();
  }
}

/** A note that cannot be read is as if it were not there: a notice is lost, nothing else. */
/** DAG-CBOR has no undefined. */
function asked(dsn: SentNote['dsn']): object {
  if (dsn === undefined) return {};
  return {
    dsn: dsn.map((one) => (one?.orcpt === undefined ? one && { notify: one.notify } : { ...one })),
  };
}

function read(bytes: Uint8Array): SentNote | undefined {
  try {
    return shape.parse(decode(Uint8Array.from(bytes)));
  } catch {
    return undefined;
  }
}
