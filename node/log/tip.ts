import type { Address } from '../../policy/address.ts';
import { equalBytes } from '../identity/canonical.ts';
import type { SigningKey } from '../identity/keys.ts';
import type { Clock, Log as LogLines } from '../overlay/overlay.ts';
import type { Block, BlockSink, BlockSource, Lease } from '../store/content.ts';
import { StoreFault } from '../store/fault.ts';
import { checkHead, type Head, headKey, makeHead, maxParents, newestHeads } from '../store/head.ts';
import { LogFault } from './fault.ts';
import { grow } from './growth.ts';
import type { LogKeys } from './head-seal.ts';
import type { LogDisk } from './log-disk.ts';
import { emptyState, type LogState } from './log-state.ts';
import { diverge, missingFrom } from './merging.ts';

// DESIGN §6.
export const leaseMs = 28 * 86_400_000;
// Another writer that appends all the time could make this one merge for ever.
const maxMerges = 4;
// Blocks per insert: what a frame or two carry.
const blocksPerInsert = 16;

interface HeadPlace {
  putHead(head: Uint8Array): Promise<{ copies: number }>;
}

export interface TipParts {
  readonly store: BlockSink & BlockSource & HeadPlace;
  readonly disk: LogDisk;
  readonly signing: SigningKey;
  readonly keys: LogKeys;
  readonly owner: Address;
  readonly now: Clock;
  readonly log: LogLines;
}

/** What one commit changes. */
export interface Change {
  readonly records: readonly Uint8Array[];
  readonly snapshot?: LogState['snapshot'] | undefined;
  /** The only number that the first record may get. */
  readonly at?: number | undefined;
}

/**
 * The newest own head and what it says. Moves only forward: a version once signed is never signed again, and a head is believed only after
 * its records are at the quorum. When another head stands against it (a second writer, a restored backup) the two are merged: records that
 * the newest lineage lacks are appended to it again, so that none is lost; their numbers there are new.
 */
export class LogTip {
  readonly key: Uint8Array;
  /** Groups from the own disk first, then from the ring. */
  readonly source: BlockSource;
  readonly #parts: TipParts;
  #head: Head | undefined;
  #state: LogState = emptyState;
  /** Heads that were signed and sent, but did not reach the quorum: the next one names and so supersedes them. */
  #abandoned: Head[] = [];

  constructor(parts: TipParts) {
    this.#parts = parts;
    this.key = headKey(parts.signing.public, parts.keys.logId);
    this.source = {
      fetch: async (key) => parts.disk.block(key) ?? (await parts.store.fetch(key)),
    };
  }

  get version(): number {
    return this.#head?.version ?? 0;
  }

  get state(): LogState {
    return this.#state;
  }

  /** Takes a head as the newest without asking: its own from the disk, or the only one the ring has. */
  believe(head: Head): void {
    this.#state = this.#parts.keys.open(head);
    this.#head = head;
  }

  async keep(): Promise<void> {
    await this.#parts.disk.keepHeads(this.key, { acknowledged: this.#head, sent: undefined });
  }

  /** Puts the own head at its holders again; what they prove to stand against it is merged. */
  async renew(): Promise<void> {
    if (this.#head === undefined) return;
    try {
      await this.#parts.store.putHead(this.#head.bytes);
    } catch (cause) {
      const others = standingAgainst(cause);
      if (others.length === 0) throw unavailable('the head did not reach the write quorum', cause);
      await this.merge(others);
    }
  }

  /** Writes a head with the change. Resolves with the number of its first record when it is on the own disk and at the write quorum. */
  commit(change: Change): Promise<{ first: number }> {
    return this.#settle(change, []);
  }

  /** Brings the records of other heads of this log into it, each once. Throws LogFault `fork` when they cannot be read. */
  async merge(others: readonly Head[]): Promise<void> {
    await this.#settle(undefined, others);
  }

  /** Merges what stands against the own head, then writes the change, until nothing stands against it any more. */
  async #settle(change: Change | undefined, others: readonly Head[]): Promise<{ first: number }> {
    for (let merges = 0; ; merges++) {
      try {
        for (const other of others) await this.#mergeOne(other);
        const first = this.#state.length;
        if (change?.at !== undefined && change.at !== first)
          throw new LogFault('overtaken', `the log has ${first} records where ${change.at} were expected`);
        if (change !== undefined) await this.#write(change, []);
        return { first };
      } catch (cause) {
        others = standingAgainst(cause);
        if (others.length === 0) throw cause;
        if (merges >= maxMerges) throw unavailable('another writer keeps appending to this log', cause);
      }
    }
  }

  async #mergeOne(other: Head): Promise<void> {
    if (this.#head !== undefined && equalBytes(other.hash, this.#head.hash)) return;
    const state = this.#parts.keys.open(other);
    const { left: mine, right: theirs } = await this.#diverge(state, other);
    const facts = { version: this.version, other: other.version, mine: mine.length, theirs: theirs.length };
    this.#parts.log.warn(facts, 'log: another head of this log is merged');
    if (mine.length > 0 || other.version <= this.version) {
      await this.#write({ records: missingFrom(mine, theirs) }, [other]);
      return;
    }
    // The other one follows all that lies here: it is simply newer.
    this.#state = state;
    this.#head = other;
    await this.keep();
  }

  async #diverge(state: LogState, other: Head): ReturnType<typeof diverge> {
    try {
      return await diverge(this.source, this.#state, state);
    } catch (cause) {
      throw new LogFault(
        'fork',
        `head ${other.version} of this log stands against ${this.version} and cannot be read`,
        cause,
      );
    }
  }

  async #write({ records, snapshot }: Change, others: readonly Head[]): Promise<void> {
    const { keys, signing, disk, store, now } = this.#parts;
    const lease = { identity: this.#parts.owner, until: now() + leaseMs };
    const { state, blocks } = await grow(this.#state, records, keys.secrecy, lease);
    const next = snapshot === undefined ? state : { ...state, snapshot };
    await this.#keepBlocks(blocks, lease);
    const before = [...(this.#head === undefined ? [] : [this.#head]), ...others, ...this.#abandoned];
    const version = Math.max(0, ...before.map((head) => head.version)) + 1;
    const parents = before.slice(0, maxParents).map(({ hash }) => hash);
    const body = keys.seal(next, version, signing.public);
    const head = makeHead({ logId: keys.logId, version, parents, at: now(), body }, signing);
    // On the own disk before anyone sees it: after a crash the same version must not be signed over other records.
    await disk.keepHeads(this.key, { acknowledged: this.#head, sent: head });
    try {
      await store.putHead(head.bytes);
    } catch (cause) {
      // All versions up to this one are used up; only the newest matters for that, the others are already named by it.
      this.#abandoned = [head];
      if (standingAgainst(cause).length > 0) throw cause;
      throw unavailable('the head did not reach the write quorum', cause);
    }
    this.#abandoned = [];
    this.#state = next;
    this.#head = head;
  }

  async #keepBlocks(blocks: readonly Block[], lease: Lease): Promise<void> {
    const { disk, store } = this.#parts;
    try {
      const kept = disk.keepBlocks(blocks);
      for (let at = 0; at < blocks.length; at += blocksPerInsert)
        await Promise.all([kept, store.insert(blocks.slice(at, at + blocksPerInsert), lease)]);
    } catch (cause) {
      throw unavailable('the records did not reach the write quorum', cause);
    }
  }
}

function unavailable(message: string, cause: unknown): LogFault {
  return new LogFault('unavailable', message, cause);
}

/** The heads that a holder proved to stand against the one it was given. */
function standingAgainst(cause: unknown): Head[] {
  if (!(cause instanceof StoreFault) || (cause.code !== 'stale' && cause.code !== 'fork')) return [];
  return newestHeads(cause.heads.flatMap((bytes) => checkHead(bytes) ?? []));
}
