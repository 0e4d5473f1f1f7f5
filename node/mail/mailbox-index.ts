import { decode, encode } from '@ipld/dag-cbor';
import { z } from 'zod';
import { MailFault } from './fault.ts';
import { isInferior } from './folder-name.ts';
import type { SpecialUse } from './mailbox.ts';

const specialUse = z.enum(['\\Sent', '\\Drafts', '\\Junk', '\\Trash', '\\Archive'] satisfies readonly SpecialUse[]);
const name = z.string().max(1_024);
const id = z.int().positive().max(0xffff_ffff);

const record = z.discriminatedUnion('kind', [
  /** `id` is the uidValidity and names the folder's log: never given twice in one mailbox, and growing. */
  z.strictObject({ kind: z.literal('create'), id, name, use: specialUse.nullable() }),
  z.strictObject({ kind: z.literal('remove'), name }),
  z.strictObject({ kind: z.literal('rename'), from: name, to: name }),
  z.strictObject({ kind: z.literal('subscribe'), name, on: z.boolean() }),
]);

/** One step in the history of the folder list. */
export type MailboxRecord = z.infer<typeof record>;

export function encodeMailboxRecord(value: MailboxRecord): Uint8Array {
  return encode(value);
}

const folder = z.strictObject({ id, name, use: specialUse.nullable() });
export type ListedFolder = z.infer<typeof folder>;

const snapshot = z.strictObject({
  v: z.literal(1),
  seq: z.int().nonnegative(),
  lastId: z.int().nonnegative(),
  folders: z.array(folder),
  subscribed: z.array(name),
});

function read<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  try {
    return schema.parse(decode(bytes));
  } catch (cause) {
    throw new MailFault('damaged', `${what} of another shape`, cause);
  }
}

/** The folder list: a pure function of the root log's records. */
export class MailboxIndex {
  seq = 0;
  /** The highest id ever given. */
  lastId = 0;
  readonly folders = new Map<string, ListedFolder>();
  readonly subscribed = new Set<string>();

  /** Applies the next record; one that no longer fits (a name that is taken or gone) changes nothing. */
  apply(bytes: Uint8Array): MailboxRecord {
    const step = read(record, bytes, 'a mailbox record');
    this.seq += 1;
    switch (step.kind) {
      case 'create':
        this.lastId = Math.max(this.lastId, step.id);
        if (!this.folders.has(step.name)) this.folders.set(step.name, { id: step.id, name: step.name, use: step.use });
        break;
      case 'remove':
        this.folders.delete(step.name);
        break;
      case 'rename':
        this.#rename(step.from, step.to);
        break;
      default:
        if (step.on) this.subscribed.add(step.name);
        else this.subscribed.delete(step.name);
    }
    return step;
  }

  /** RFC 3501 §6.3.5: inferior names go along, and (our choice) so do their subscriptions. */
  #rename(from: string, to: string): void {
    const renamed = (old: string): string =>
      old === from || isInferior(old, from) ? to + old.slice(from.length) : old;
    const folders = [...this.folders.values()].map((listed) => ({ ...listed, name: renamed(listed.name) }));
    this.folders.clear();
    for (const listed of folders) if (!this.folders.has(listed.name)) this.folders.set(listed.name, listed);
    const subscribed = [...this.subscribed].map(renamed);
    this.subscribed.clear();
    for (const listed of subscribed) this.subscribed.add(listed);
  }

  byId(wanted: number): ListedFolder | undefined {
    return [...this.folders.values()].find((listed) => listed.id === wanted);
  }

  byUse(use: SpecialUse): ListedFolder | undefined {
    return [...this.folders.values()].find((listed) => listed.use === use);
  }
}

export function encodeMailboxIndex(index: MailboxIndex): Uint8Array {
  const { seq, lastId, folders, subscribed } = index;
  return encode({ v: 1, seq, lastId, folders: [...folders.values()], subscribed: [...subscribed] });
}

export function decodeMailboxIndex(bytes: Uint8Array): MailboxIndex {
  const fields = read(snapshot, bytes, 'a mailbox snapshot');
  const index = new MailboxIndex();
  index.seq = fields.seq;
  index.lastId = fields.lastId;
  for (const listed of fields.folders) index.folders.set(listed.name, listed);
  for (const listed of fields.subscribed) index.subscribed.add(listed);
  return index;
}
