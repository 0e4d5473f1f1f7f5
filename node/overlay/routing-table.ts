import { compareDistance } from './placement.ts';
import { PositionIndex } from './position-index.ts';

/** What the table needs to know of a node. `network`: the public address prefix it stands in, where that says anything. */
export interface Contact {
  readonly peerId: string;
  readonly position: Uint8Array;
  readonly owner: string;
  readonly network?: string | undefined;
}

export interface RoutingLimits {
  /** Contacts of one distance class (same number of leading bits in common with us). Kademlia's k: that all of them are away at once is rare. */
  readonly perBucket: number;
  /** Of one distance class, how many may be of one owner, or in one network: one person, or one rented subnet, is not the way to half of the ring. */
  readonly perOwner: number;
  readonly perNetwork: number;
  /** The nearest to us are kept whoever they are: who asks us for keys near to us needs all of them (S/Kademlia's sibling list). */
  readonly siblings: number;
}

// k = 20 is Kademlia's (§2.3). Of 32 siblings at least 16 fill the whole subtree around us, and placement looks at 12: what a node holds it can
// place without asking anyone.
export const defaultLimits: RoutingLimits = { perBucket: 20, perOwner: 2, perNetwork: 4, siblings: 32 };

type Kept<C> = { readonly contact: C; readonly position: Uint8Array; failed: boolean };

/** The nearest to us, nearest first; `bits`: how many the farthest of them shares with us. */
interface Neighbourhood<C> {
  readonly all: readonly Kept<C>[];
  readonly set: ReadonlySet<Kept<C>>;
  readonly bits: number;
}

/**
 * The nodes that one node of a large ring knows: all of its neighbourhood, and ever fewer of what is farther, so about
 * `perBucket` × log2(n / `perBucket`) in a ring of n. Who has answered for long stays; a newcomer takes the place of
 * one that failed, or none.
 */
export class RoutingTable<C extends Contact> {
  readonly #self: Uint8Array;
  readonly #limits: RoutingLimits;
  readonly #index = new PositionIndex<Kept<C>>();
  readonly #kept = new Map<string, Kept<C>>();
  // Oldest first.
  readonly #buckets = new Map<number, Kept<C>[]>();
  /** Until one of them changes: asked for at every offer. */
  #known: Neighbourhood<C> | undefined;

  constructor(self: Uint8Array, limits: RoutingLimits = defaultLimits) {
    this.#self = self;
    this.#limits = limits;
  }

  get siblings(): number {
    return this.#limits.siblings;
  }

  get size(): number {
    return this.#kept.size;
  }

  has(peerId: string): boolean {
    return this.#kept.has(peerId);
  }

  /** Takes a contact in, or its newer form; false when there is no room for it. The node itself is never a contact. */
  offer(contact: C): boolean {
    const { peerId, position } = contact;
    const distance = commonBits(this.#self, position);
    if (distance === position.length * 8) return false;
    const bucket = this.#buckets.get(distance) ?? [];
    const old = this.#kept.get(peerId);
    if (old?.contact === contact) {
      old.failed = false;
      return true;
    }
    if (old === undefined && this.#isFull(bucket, position, distance)) return false;
    const kept = { contact, position, failed: false };
    if (old === undefined) bucket.push(kept);
    else bucket[bucket.indexOf(old)] = kept;
    this.#buckets.set(distance, bucket);
    this.#kept.set(peerId, kept);
    this.#index.put(kept);
    const near = this.#changes(position);
    this.#prune(bucket);
    // A new sibling makes the farthest one an ordinary contact of its bucket.
    const demoted = near
      ? this.#index.nearest(this.#self, this.#limits.siblings + 1, () => true)[this.#limits.siblings]
      : undefined;
    if (demoted !== undefined) this.#prune(this.#buckets.get(commonBits(this.#self, demoted.position)) ?? []);
    return this.#kept.has(peerId);
  }

  /** The contact did not answer: the first to go when another wants its place. An offer of it forgives. */
  failed(peerId: string): void {
    const kept = this.#kept.get(peerId);
    if (kept !== undefined) kept.failed = true;
  }

  remove(peerId: string): void {
    const kept = this.#kept.get(peerId);
    if (kept === undefined) return;
    const bucket = this.#buckets.get(commonBits(this.#self, kept.position));
    bucket?.splice(bucket.indexOf(kept), 1);
    this.#kept.delete(peerId);
    this.#index.remove(kept.position);
    this.#changes(kept.position);
  }

  /** The `count` nearest to `key` that are known here, nearest first. */
  closest(key: Uint8Array, count: number): C[] {
    return this.#index.nearest(key, count, () => true).map(({ contact }) => contact);
  }

  /**
   * Bits that a position must share with us so that this table certainly knows everyone who shares as many: the neighbourhood ends at the
   * farthest sibling. 0 while there is room for more siblings, for then everyone heard of is known.
   */
  get wholeBits(): number {
    const { all, bits } = this.#siblings();
    return all.length === 0 || all.length < this.#limits.siblings ? 0 : bits + 1;
  }

  /** How many others share at least `bits` bits with us, of the siblings. */
  siblingsSharing(bits: number): number {
    return this.#siblings().all.filter(({ position }) => commonBits(this.#self, position) >= bits).length;
  }

  #siblings(): Neighbourhood<C> {
    if (this.#known !== undefined) return this.#known;
    const all = this.#index.nearest(this.#self, this.#limits.siblings, () => true);
    const last = all.at(-1);
    const bits = last === undefined ? 0 : commonBits(this.#self, last.position);
    this.#known = { all, set: new Set(all), bits };
    return this.#known;
  }

  /** Whether a newcomer would certainly go again at once. In a lookup most of those that are named are such. */
  #isFull(bucket: readonly Kept<C>[], position: Uint8Array, distance: number): boolean {
    if (bucket.length < this.#limits.perBucket || bucket.some(({ failed }) => failed)) return false;
    const { set, bits } = this.#siblings();
    if (distance < bits) return true;
    return this.#isBeyond(position) && bucket.filter((one) => !set.has(one)).length >= this.#limits.perBucket;
  }

  /** Whether it is farther than a whole neighbourhood. */
  #isBeyond(position: Uint8Array): boolean {
    const { all } = this.#siblings();
    const last = all.at(-1);
    return (
      last !== undefined &&
      all.length >= this.#limits.siblings &&
      compareDistance(this.#self, position, last.position) > 0
    );
  }

  /** Notes that something changed at this position; whether it is in the neighbourhood. */
  #changes(position: Uint8Array): boolean {
    if (this.#known !== undefined && this.#isBeyond(position)) return false;
    this.#known = undefined;
    return true;
  }

  #prune(bucket: Kept<C>[]): void {
    const { perBucket, perOwner, perNetwork } = this.#limits;
    if (bucket.length <= Math.min(perBucket, perOwner, perNetwork)) return;
    for (;;) {
      const { set: siblings } = this.#siblings();
      const far = bucket.filter((one) => !siblings.has(one));
      const crowd =
        crowdOver(far, perOwner, ({ contact }) => contact.owner) ??
        crowdOver(far, perNetwork, ({ contact }) => contact.network) ??
        (far.length > perBucket ? far : undefined);
      const victim = crowd?.find(({ failed }) => failed) ?? crowd?.at(-1);
      if (victim === undefined) return;
      this.remove(victim.contact.peerId);
    }
  }
}

/** The first group of more than `most`, in the order of the bucket. */
function crowdOver<T>(all: readonly T[], most: number, groupOf: (one: T) => string | undefined): T[] | undefined {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const name = groupOf(one);
    if (name === undefined) continue;
    const group = groups.get(name) ?? [];
    group.push(one);
    if (group.length > most) return all.filter((other) => groupOf(other) === name);
    groups.set(name, group);
  }
  return undefined;
}

/** How many leading bits two positions share. */
export function commonBits(left: Uint8Array, right: Uint8Array): number {
  for (let at = 0; at < left.length; at += 1) {
    const difference = (left[at] ?? 0) ^ (right[at] ?? 0);
    if (difference !== 0) return at * 8 + Math.clz32(difference) - 24;
  }
  return left.length * 8;
}
