import type { Member } from '../overlay/overlay.ts';
import { pause } from './background.ts';
import { sha256 } from './block-cipher.ts';
import { summaryBuckets, summaryRootBytes, summaryStampBytes } from './wire.ts';

/** What two nodes should both have, in a few numbers: the keys of each bucket (by their first byte) added up without carry. */
export class Summary {
  // Keys are hashes, so 16 bytes of their sum tell two sets apart unless somebody made blocks for just that: then only his own are overlooked.
  readonly #sums = new Uint8Array(summaryBuckets * summaryRootBytes);

  /** Adds a key, or takes it away: the same operation. */
  toggle(key: Uint8Array): void {
    const at = (key[0] ?? 0) * summaryRootBytes;
    for (let i = 0; i < summaryRootBytes; i++) this.#sums[at + i] = (this.#sums[at + i] ?? 0) ^ (key[i + 1] ?? 0);
  }

  /** The buckets in which it is the sum of anything. */
  filled(): number[] {
    const filled = new Set<number>();
    for (let at = 0; at < this.#sums.length; at++)
      if (this.#sums[at] !== 0) filled.add(Math.floor(at / summaryRootBytes));
    return [...filled];
  }

  root(): Uint8Array {
    return sha256(this.#sums).subarray(0, summaryRootBytes);
  }

  /** The beginning of each bucket's sum. */
  stamps(): Uint8Array {
    const stamps = new Uint8Array(summaryBuckets * summaryStampBytes);
    for (let bucket = 0; bucket < summaryBuckets; bucket++) {
      const at = bucket * summaryRootBytes;
      stamps.set(this.#sums.subarray(at, at + summaryStampBytes), bucket * summaryStampBytes);
    }
    return stamps;
  }
}

const nothing = new Summary();

// Keys put into a summary before others have a turn.
const pageKeys = 500;
const restMs = 5;

/**
 * For each other node, a summary of the blocks here that both should have. Kept up to date with every block that comes or goes, and made anew when
 * the members have changed. Two nodes that see the same members and have the same blocks have the same summary of each other: comparing an unchanged
 * range costs one request of a few bytes.
 */
export class Summaries {
  readonly #parts: SummariesParts;
  #of = new Map<string, Summary>();
  readonly #members = new Map<string, Member>();
  /** Of the blocks here that this node should not have. */
  #foreign = new Summary();
  /** What `ring` said when they were made; undefined before. */
  #madeFor: string | undefined;
  /** While they are made: how far the walk, in the order of the keys, has come. */
  #walked: Uint8Array | undefined;
  #making: Promise<void> | undefined;

  constructor(parts: SummariesParts) {
    this.#parts = parts;
  }

  /** To be called for every wanted block that came or went. */
  changed(key: Uint8Array): void {
    // What the walk has not met yet it will meet as it is then.
    if (this.#making !== undefined && (this.#walked === undefined || Buffer.compare(key, this.#walked) > 0)) return;
    if (this.#making !== undefined || this.#madeFor !== undefined) this.#toggle(key);
  }

  /** Makes them anew when they are next asked for: so that nothing wrong in them stays for long. */
  forget(): void {
    this.#madeFor = undefined;
  }

  /** The summary of what this node and that one should both have. */
  async of(peerId: string): Promise<Summary> {
    await this.#made();
    return this.#of.get(peerId) ?? nothing;
  }

  /**
   * `sharing`: those with whom this node should have a block that is here; `foreign`: the buckets with blocks that are here and should not be, which are in
   * nobody's sums.
   */
  async outline(): Promise<{ readonly sharing: readonly Member[]; readonly foreign: readonly number[] }> {
    await this.#made();
    return { sharing: [...this.#members.values()], foreign: this.#foreign.filled() };
  }

  async #made(): Promise<void> {
    if (this.#making === undefined && this.#madeFor !== this.#parts.ring()) this.#making = this.#make();
    await this.#making;
  }

  async #make(): Promise<void> {
    this.#walked = undefined;
    // So that who called this has noted that it is under way before it can end.
    await Promise.resolve();
    const ring = this.#parts.ring();
    this.#of = new Map();
    this.#members.clear();
    this.#foreign = new Summary();
    try {
      for (;;) {
        const keys = this.#parts.page(this.#walked, pageKeys);
        const last = keys.at(-1);
        if (last === undefined || this.#parts.signal.aborted) break;
        for (const key of keys) if (this.#parts.isWanted(key)) this.#toggle(key);
        this.#walked = last;
        await pause(restMs, this.#parts.signal);
      }
      this.#madeFor = ring;
    } finally {
      this.#making = undefined;
    }
  }

  #toggle(key: Uint8Array): void {
    const keepers = this.#parts.keepers(key);
    if (!keepers.some(({ peerId }) => peerId === this.#parts.selfId)) return this.#foreign.toggle(key);
    for (const member of keepers) {
      const { peerId } = member;
      if (peerId === this.#parts.selfId) continue;
      const summary = this.#of.get(peerId) ?? new Summary();
      this.#of.set(peerId, summary);
      this.#members.set(peerId, member);
      summary.toggle(key);
    }
  }
}

interface SummariesParts {
  readonly selfId: string;
  readonly keepers: (key: Uint8Array) => readonly Member[];
  /** Names the members and which of them are lost: all that `keepers` depends on. */
  readonly ring: () => string;
  /** Up to so many keys of blocks here behind one, in order. */
  readonly page: (after: Uint8Array | undefined, limit: number) => readonly Uint8Array[];
  /** Whether that block is here and not in the trash. */
  readonly isWanted: (key: Uint8Array) => boolean;
  readonly signal: AbortSignal;
}

/** Of another's answer about a summary: in which buckets the two differ. */
export function differingBuckets(mine: Summary, theirs: Uint8Array): ReadonlySet<number> {
  const stamps = mine.stamps();
  const differing = new Set<number>();
  for (let bucket = 0; bucket < summaryBuckets; bucket++) {
    const [from, to] = [bucket * summaryStampBytes, (bucket + 1) * summaryStampBytes];
    if (Buffer.compare(stamps.subarray(from, to), theirs.subarray(from, to)) !== 0) differing.add(bucket);
  }
  return differing;
}
