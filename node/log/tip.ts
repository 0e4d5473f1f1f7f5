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
import type { LogShelf } from './log-disk.ts';
import { emptyState, type LogState } from './log-state.ts';
import { join } from './merging.ts';
import { type Place, type Stored, samePlace, type Takes } from './place.ts';

// DESIGN §6.
export const leaseMs = 28 * 86_400_000;
// Another writer that appends all the time could make this one merge for ever.
const maxMerges = 4;
// Blocks per insert: what a frame or two carry.
const blocksPerInsert = 16;

interface HeadPlace {
  putHead(head: Uint8Array): Promise<{ copies: number }>;
  getHeads(key: Uint8Array): Promise<{ heads: Uint8Array[]; sure: boolean }>;
}

export interface TipParts {
  readonly store: BlockSink & BlockSource & HeadPlace;
  readonly disk: LogShelf;
  readonly signing: SigningKey;
  readonly keys: LogKeys;
  readonly takes: Takes;
  readonly owner: Address;
  readonly now: Clock;
  readonly log: LogLines;
}

/** What one commit changes. */
export interface Change {
  readonly records: readonly Uint8Array[];
  readonly snapshot?: LogState['snapshot'] | undefined;
  /** The only place that the first record, or the snapshot, may have. */
  readonly at?: Place | undefined;
}

/** What a head is made of beside the keys. */
interface Draft {
  readonly state: LogState;
  readonly version: number;
  readonly parents: readonly Head[];
  readonly at: number;
}

/**
 * The newest own head and what it says. Moves only forward: a version once signed is never signed again over something else, and a head is believed
 * only after its records are at the quorum. When another head stands against it (a second node of the same user, a restored backup) the two become one
 * (merging.ts). Of two the one of the higher version goes on, of equal ones that of the lower hash; what is signed then depends on the two alone,
 * not on who signs or when, so that nodes which meet the same two heads make the same third one.
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
  #wrote = 0;

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

  /** Whether the newest head is one that this node made, above that version. */
  wroteAbove(version: number): boolean {
    return this.#wrote > version;
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

  /** Looks what the holders have, and follows or merges what is newer than the own head. Throws StoreFault when nobody can be asked. */
  async refresh(): Promise<void> {
    const { heads } = await this.#parts.store.getHeads(this.key);
    const newer = heads.flatMap((bytes) => checkHead(bytes) ?? []).filter((head) => this.#isNews(head));
    if (newer.length > 0) await this.merge(newer);
  }

  /** What was given up here counts as news: where the ring has it after all, others read it. */
  #isNews(head: Head): boolean {
    return head.version >= this.version && (this.#head === undefined || !equalBytes(this.#head.hash, head.hash));
  }

  /** Merges what stands against the own head, then writes the change, until nothing stands against it any more. */
  async #settle(change: Change | undefined, others: readonly Head[]): Promise<{ first: number }> {
    for (let merges = 0; ; merges++) {
      try {
        for (const other of others) await this.#mergeOne(other);
        const first = this.#state.end.seq;
        if (change !== undefined) await this.#change(change);
        return { first };
      } catch (cause) {
        others = standingAgainst(cause);
        if (others.length === 0) throw cause;
        if (merges >= maxMerges) throw unavailable('another writer keeps appending to this log', cause);
      }
    }
  }

  async #change({ records, snapshot, at }: Change): Promise<void> {
    const { end } = this.#state;
    if (at !== undefined && !samePlace(at, end))
      throw new LogFault('overtaken', `the log has ${end.seq} items, and not those that the records were made for`);
    const state = await this.#grown(this.#state, records);
    const before = [...(this.#head === undefined ? [] : [this.#head]), ...this.#abandoned];
    await this.#write({
      state: snapshot === undefined ? state : { ...state, snapshot },
      version: versionAfter(before),
      parents: before,
      at: this.#parts.now(),
    });
  }

  async #mergeOne(other: Head): Promise<void> {
    const state = this.#parts.keys.open(other);
    const own = this.#head;
    if (own === undefined) return this.#follow(other, state);
    if (equalBytes(other.hash, own.hash)) return;
    const ownFirst = newestFirst(own, other) < 0;
    const [first, second] = ownFirst ? [this.#state, state] : [state, this.#state];
    const joined = await this.#join(first, second, other);
    const facts = { version: own.version, other: other.version, becomes: joined.kind };
    this.#parts.log.info(facts, 'log: another head of this log is brought in');
    if (joined.kind === 'first') {
      if (!ownFirst) await this.#follow(other, state);
      return;
    }
    const parents = [own, other].sort(newestFirst);
    // What was sent and given up has used up its version, on this node alone: a rare head that other nodes do not make as well, and follow.
    const used = this.#abandoned.filter(({ version }) => version >= versionAfter(parents));
    await this.#write({
      state: joined.kind === 'both' ? await this.#grown(first, joined.items) : second,
      version: versionAfter([...parents, ...used]),
      parents: [...parents, ...used],
      at: Math.max(own.at, other.at),
    });
  }

  /** The other one follows all that lies here: it is simply newer. */
  async #follow(head: Head, state: LogState): Promise<void> {
    this.#state = state;
    this.#head = head;
    this.#abandoned = this.#abandoned.filter(({ hash }) => !equalBytes(hash, head.hash));
    await this.keep();
  }

  async #join(first: LogState, second: LogState, other: Head): ReturnType<typeof join> {
    try {
      return await join(this.source, first, second, this.#parts.takes);
    } catch (cause) {
      throw new LogFault(
        'fork',
        `head ${other.version} of this log stands against ${this.version} and one of them cannot be read`,
        cause,
      );
    }
  }

  /** The state with these items, its new blocks at the quorum. */
  async #grown(state: LogState, items: readonly Stored[]): Promise<LogState> {
    const lease = { identity: this.#parts.owner, until: this.#parts.now() + leaseMs };
    const grown = await grow(state, items, this.#parts.takes, this.#parts.keys.secrecy, lease);
    await this.#keepBlocks(grown.blocks, lease);
    return grown.state;
  }

  async #write({ state, version, parents, at }: Draft): Promise<void> {
    const { keys, signing, disk, store } = this.#parts;
    const hashes = parents.slice(0, maxParents).map(({ hash }) => hash);
    const body = keys.seal(state, version, signing.public);
    const head = makeHead({ logId: keys.logId, version, parents: hashes, at, body }, signing);
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
    this.#wrote = version;
    this.#state = state;
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

function versionAfter(heads: readonly Head[]): number {
  return Math.max(0, ...heads.map(({ version }) => version)) + 1;
}

/** The one that goes on first: the higher version, of equal ones the lower hash. */
function newestFirst(left: Head, right: Head): number {
  return right.version - left.version || Buffer.compare(left.hash, right.hash);
}
