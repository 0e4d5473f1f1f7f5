import { setTimeout as sleep } from 'node:timers/promises';
import { decode, encode } from '@ipld/dag-cbor';
import { z } from 'zod';
import type { Address } from '../../policy/address.ts';
import type { Followed } from '../log/following.ts';
import type { Log as PostLog } from '../log/log.ts';
import { getContent, putContent } from '../store/content.ts';
import { MailFault } from './fault.ts';
import type { IndexCache } from './index-cache.ts';
import { type Clock, type Log, leaseMs, type MailPost } from './mail-post.ts';
import { packContentRef, unpackContentRef } from './message-ref.ts';

// DESIGN §7: every six hours, for seven days.
const everyMs = 6 * 3_600_000;
const keptMs = 7 * 86_400_000;
// Not while everything else is starting.
const firstLookMs = 60_000;
const lookMs = 10 * 60_000;
// What one entry of the backups' own log may make a reader look at: 28 of a week, and those that were asked for.
const maxRead = 200;

const record = z.tuple([z.int().nonnegative(), z.instanceof(Uint8Array)]);
const kept = z.strictObject({
  v: z.literal(1),
  at: z.int().nonnegative(),
  heads: z.array(z.tuple([z.string().max(100), z.instanceof(Uint8Array)])).max(2_000),
});

/** The heads of all logs of a mailbox, as they were at a time. */
export interface HeadBackup {
  readonly at: number;
  /** The log as that head has it; undefined where there was none. */
  read(name: string): Followed | undefined;
}

export interface HeadBackupOptions {
  readonly post: MailPost;
  readonly owner: Address;
  readonly salt: Uint8Array;
  readonly cache: Pick<IndexCache, 'backups' | 'backup' | 'keepBackup'>;
  /** Opens the log that names the backups, made where there is none. */
  readonly openLog: () => Promise<PostLog>;
  /** The names of the mailbox's logs. */
  readonly logs: () => Iterable<string>;
  readonly heads: (name: string) => Promise<readonly Uint8Array[]>;
  readonly readHead: (name: string, head: Uint8Array) => Followed;
  readonly now: Clock;
  readonly log: Log;
}

/**
 * Keeps the heads of a mailbox's logs every six hours for a week: in the ring, sealed and leased, named by a log of the owner's of their own (so any node
 * of his finds them, and one lost entry loses no other), and on this node's disk.
 */
export class HeadBackups {
  readonly #options: HeadBackupOptions;
  readonly #ending = new AbortController();
  #running: Promise<void> | undefined;
  #log: Promise<PostLog> | undefined;

  constructor(options: HeadBackupOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run().catch((error: unknown) => {
      if (!this.#ending.signal.aborted) this.#options.log.error({ err: error }, 'heads are not kept any more');
    });
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#running;
    const log = await this.#log?.catch(() => undefined);
    await log?.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    for (let wait = firstLookMs; ; wait = lookMs) {
      await sleep(wait, undefined, { signal, ref: false });
      await this.passed().catch((error: unknown) =>
        this.#options.log.warn({ err: error }, 'the heads of a mailbox could not be kept; tried again soon'),
      );
    }
  }

  /** The log that names the backups, once it is open. */
  async *log(): AsyncIterable<PostLog> {
    if (this.#log !== undefined) yield await this.#log;
  }

  /** Keeps the heads when the newest backup is six hours old. Whether it did. */
  async passed(): Promise<boolean> {
    const { now } = this.#options;
    const last = (await this.list())[0] ?? 0;
    // A backup from the future was made under a clock that has been put right since.
    if (last <= now() && now() - last < everyMs) return false;
    await this.keep();
    return true;
  }

  /** Keeps the heads as they are now. Resolves with the time under which they are found. */
  async keep(): Promise<number> {
    const { post, owner, salt, cache, logs, heads, now } = this.#options;
    const at = now();
    const found: [string, Uint8Array][] = [];
    for (const name of logs()) for (const head of (await heads(name)).slice(0, 1)) found.push([name, head]);
    const bytes = encode({ v: 1, at, heads: found });
    await cache.keepBackup(at, bytes, at - keptMs);
    const lease = { identity: owner, until: at + leaseMs };
    const ref = await putContent(post.store, bytes, { kind: 'salted', salt }, lease);
    await (await this.#opened()).append([encode([at, packContentRef(ref)])]);
    return at;
  }

  /** When heads were kept in the last seven days, the newest first. */
  async list(): Promise<number[]> {
    const named = await this.#named().catch((error: unknown) => {
      this.#options.log.warn({ err: error }, 'the backups in the ring cannot be listed now; those on this disk are');
      return new Map<number, Uint8Array>();
    });
    const all = new Set([...named.keys(), ...this.#options.cache.backups()]);
    return [...all].filter((at) => at >= this.#options.now() - keptMs).sort((a, b) => b - a);
  }

  /** The newest backup that is not younger than `to`. Throws MailFault `missing` where there is none, or `unavailable`. */
  async find(to: number): Promise<HeadBackup> {
    const at = (await this.list()).find((one) => one <= to);
    if (at === undefined)
      throw new MailFault('missing', `no heads of ${new Date(to).toISOString()} or before are kept`);
    const { heads } = this.#read(await this.#bytes(at));
    const byName = new Map(heads);
    return {
      at,
      read: (name) => {
        const head = byName.get(name);
        return head === undefined ? undefined : this.#options.readHead(name, head);
      },
    };
  }

  async #bytes(at: number): Promise<Uint8Array> {
    const here = this.#options.cache.backup(at);
    if (here !== undefined) return here;
    const packed = (await this.#named()).get(at);
    if (packed === undefined) throw new MailFault('missing', 'this backup is named nowhere any more');
    return getContent(this.#options.post.store, unpackContentRef(packed));
  }

  #read(bytes: Uint8Array): z.infer<typeof kept> {
    try {
      return kept.parse(decode(bytes));
    } catch (cause) {
      throw new MailFault('damaged', 'the kept heads do not parse', cause);
    }
  }

  /** time → packed reference, of the newest entries. */
  async #named(): Promise<Map<number, Uint8Array>> {
    const log = await this.#opened();
    await log.refresh();
    const named = new Map<number, Uint8Array>();
    for await (const item of log.read(Math.max(0, log.length - maxRead))) {
      const fields = item.kind === 'record' ? record.safeParse(decode(item.record)).data : undefined;
      if (fields !== undefined) named.set(fields[0], fields[1]);
    }
    return named;
  }

  async #opened(): Promise<PostLog> {
    const opening = this.#log ?? this.#options.openLog();
    this.#log = opening;
    try {
      return await opening;
    } catch (error) {
      // The next one tries again.
      if (this.#log === opening) this.#log = undefined;
      throw error;
    }
  }
}
