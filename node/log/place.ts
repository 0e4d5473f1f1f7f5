import { encode } from '@ipld/dag-cbor';
import { equalBytes } from '../identity/canonical.ts';
import { sha256 } from '../store/block-cipher.ts';

/**
 * A place in a log: between two of its items, named so that it means the same in every history of a forked log. Two logs that have one
 * place in common have all items before it in common.
 */
export interface Place {
  /** Items before it. */
  readonly seq: number;
  /** 16 bytes of a hash over all items before it, in order. */
  readonly chain: Uint8Array;
  /** The highest number given out before it; what a number is for is the application's business (IMAP uids). Never falls, in no history. */
  readonly numbers: number;
  /** Grows with every item, and in a join beyond both histories: an application's measure of "since" (IMAP mod-sequences). */
  readonly height: number;
}

/** Two histories of a log became one here: the items before are the one's, those after are what only the other had. */
export interface Join {
  /** Where they had parted. */
  readonly from: Pick<Place, 'numbers' | 'height'>;
  /** How far the other one had come: what it gave out above `from` it may have given to other records than this history did. */
  readonly most: Pick<Place, 'numbers' | 'height'>;
  /** So many numbers are set aside here, above all that either gave out, for records of this history that need another one. */
  readonly moves: number;
}

/** What lies in a log: a record of the application, or a join. */
export type Stored = Uint8Array | Join;

/** How many numbers a record is given: 0 or 1. Pure, the same for ever, and cheap. */
export type Takes = (record: Uint8Array) => number;

const chainBytes = 16;

export const start: Place = { seq: 0, chain: new Uint8Array(chainBytes), numbers: 0, height: 0 };

export function isRecord(item: Stored): item is Uint8Array {
  return item instanceof Uint8Array;
}

/** A join as it is kept. */
export function joinRow({ from, most, moves }: Join): readonly number[] {
  return [from.numbers, from.height, most.numbers, most.height, moves];
}

/** How many numbers an item gives out at most. */
export function taken(item: Stored, takes: Takes): number {
  return isRecord(item) ? takes(item) : item.moves;
}

function chainAfter(chain: Uint8Array, item: Stored): Uint8Array {
  const bytes = isRecord(item) ? item : encode(joinRow(item));
  // The kind goes in too: a record may hold the octets of a join.
  const hash = sha256(chain, Uint8Array.of(isRecord(item) ? 0 : 1), bytes);
  return Uint8Array.from(hash.subarray(0, chainBytes));
}

/** The chain behind each of these items: what proves them, and what a long replay spends half of its time on, so that it is made once. */
export function chainsAfter(chain: Uint8Array, items: readonly Stored[]): Uint8Array[] {
  return items.map((item) => {
    chain = chainAfter(chain, item);
    return chain;
  });
}

/** The place behind an item. A record that takes a number has `numbers` of it; a join has all of (the higher `most`, `numbers`]. */
export function after(place: Place, item: Stored, takes: Takes, chain = chainAfter(place.chain, item)): Place {
  const most = isRecord(item) ? place : item.most;
  return {
    seq: place.seq + 1,
    chain,
    numbers: Math.max(place.numbers, most.numbers) + taken(item, takes),
    height: Math.max(place.height, most.height) + 1,
  };
}

export function samePlace(one: Pick<Place, 'seq' | 'chain'>, other: Pick<Place, 'seq' | 'chain'>): boolean {
  return one.seq === other.seq && equalBytes(one.chain, other.chain);
}

/** What a reader of a log meets, in order. */
export type LogItem =
  | { readonly kind: 'record'; readonly seq: number; readonly record: Uint8Array; readonly after: Place }
  | { readonly kind: 'join'; readonly seq: number; readonly join: Join; readonly after: Place }
  /** Items whose block is gone for good as far as the ring knows: what follows them keeps its numbers. */
  | { readonly kind: 'missing'; readonly seq: number; readonly count: number; readonly after: Place };

/** Stored items as a reader meets them behind `place`; with {@link chainsAfter}, where those are known already. */
export function* itemsAfter(
  place: Place,
  stored: readonly Stored[],
  takes: Takes,
  chains?: readonly Uint8Array[],
): Generator<LogItem> {
  for (const [at, item] of stored.entries()) {
    const { seq } = place;
    place = after(place, item, takes, chains?.[at]);
    if (isRecord(item)) yield { kind: 'record', seq, record: item, after: place };
    else yield { kind: 'join', seq, join: item, after: place };
  }
}
