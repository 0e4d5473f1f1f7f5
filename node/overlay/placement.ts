import { createHash } from 'node:crypto';
import type { Member } from './overlay.ts';

/** Where a node stands in the key space: sha256 of its public key, so that nobody can choose his place cheaply. */
export function positionOf(peerKey: Uint8Array): Uint8Array {
  return createHash('sha256').update(peerKey).digest();
}

/** Whether `left` is nearer to `key` than `right` is, by XOR read as a number (Kademlia). Negative: nearer. */
export function compareDistance(key: Uint8Array, left: Uint8Array, right: Uint8Array): number {
  for (let at = 0; at < left.length; at += 1) {
    const wanted = key[at] ?? 0;
    const difference = ((left[at] ?? 0) ^ wanted) - ((right[at] ?? 0) ^ wanted);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** A member with its place, computed once. */
export type Placed = { readonly member: Member; readonly position: Uint8Array };

/** The `count` members nearest to `key`, nearest first. The same members give the same answer everywhere. */
export function nearest(placed: Iterable<Placed>, key: Uint8Array, count: number): readonly Member[] {
  // One pass with the best so far: thousands of members, a handful wanted, on the path of every block.
  const best: Placed[] = [];
  for (const one of placed) {
    const last = best.at(-1);
    if (best.length >= count && last !== undefined && compareDistance(key, one.position, last.position) >= 0) continue;
    const at = best.findIndex((other) => compareDistance(key, one.position, other.position) < 0);
    best.splice(at < 0 ? best.length : at, 0, one);
    if (best.length > count) best.pop();
  }
  return best.map(({ member }) => member);
}
