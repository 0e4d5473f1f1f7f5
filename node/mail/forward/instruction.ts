/** Where a user wants his mail to go. Kept in a log of his own, so that all his nodes know it; the newest counts. */
import { z } from 'zod';
import { parseAddress } from '../../../policy/address.ts';
import { decodeCanonical, encodeCanonical } from '../../identity/canonical.ts';
import { deriveKey } from '../../identity/derive.ts';
import { LogFault } from '../../log/fault.ts';
import type { Log as PostLog } from '../../log/log.ts';
import type { LogName, Post } from '../../post/post.ts';
import { type MailUser, mailboxKeys } from '../mail-post.ts';

export interface Instruction {
  /** As they were written. None: nothing is forwarded. */
  readonly to: readonly string[];
  /** Whether a copy stays in the inbox. */
  readonly keep: boolean;
}

/** More is a list. */
export const maxTargets = 10;

const shape = z.strictObject({
  v: z.literal(1),
  to: z.array(z.string().max(320)).max(maxTargets),
  keep: z.boolean(),
});

const none: Instruction = { to: [], keep: true };
const logName = 'forward';

/** What stands against a target; undefined where nothing does. */
export function targetProblem(text: string, own: string): string | undefined {
  const parsed = parseAddress(text);
  if (parsed.kind === 'invalid') return parsed.reason;
  return parsed.address === own ? 'it is the address that is to be forwarded' : undefined;
}

export class ForwardBook {
  readonly #open: (create: boolean) => Promise<PostLog>;
  #log: PostLog | undefined;
  #current: Instruction;
  #forget: () => void = () => undefined;

  private constructor(open: (create: boolean) => Promise<PostLog>) {
    this.#open = open;
    this.#current = none;
  }

  /** Throws LogFault `unavailable`, `damaged`, `fork`: without knowing where mail should go none can be taken. */
  static async open(post: Pick<Post, 'openLog'>, user: MailUser): Promise<ForwardBook> {
    const keys = mailboxKeys(user);
    const secret = deriveKey(keys.export(), 'mail/forward');
    const name: LogName = { signing: keys.signing, secret, name: logName };
    const book = new ForwardBook(async (create) => post.openLog({ ...name, owner: user.address, create }));
    try {
      await book.#follow(await book.#open(false));
    } catch (fault) {
      if (!(fault instanceof LogFault) || fault.code !== 'missing') throw fault;
    }
    return book;
  }

  get current(): Instruction {
    return this.#current;
  }

  /** At the write quorum when it resolves. */
  async set(instruction: Instruction): Promise<void> {
    const record = encodeCanonical(shape.parse({ v: 1, ...instruction }));
    if (this.#log === undefined) await this.#follow(await this.#open(true));
    await this.#log?.append([record]);
    this.#current = instruction;
  }

  /** Brings in what another node of the user has written. Never throws: what was known goes on. */
  async refresh(): Promise<void> {
    const log = this.#log;
    if (log === undefined) return;
    const moved = await log.refresh().catch(() => false);
    if (moved) await this.#read(log);
  }

  async close(): Promise<void> {
    this.#forget();
    await this.#log?.close();
  }

  async #follow(log: PostLog): Promise<void> {
    this.#log = log;
    await this.#read(log);
    this.#forget = log.onNews(() => void this.refresh());
  }

  async #read(log: PostLog): Promise<void> {
    for await (const item of log.read(Math.max(0, log.length - lookedAt))) {
      const decoded = item.kind === 'record' ? decodeCanonical(item.record, maxRecordBytes) : undefined;
      const read = decoded?.kind === 'decoded' ? shape.safeParse(decoded.value) : undefined;
      if (read?.success === true) this.#current = { to: read.data.to, keep: read.data.keep };
    }
  }
}

// The last record is what counts; behind it may stand a join, and what a later version wrote.
const lookedAt = 20;
const maxRecordBytes = 4 * 1024;
