import type { Member } from '../overlay/overlay.ts';

/** Who keeps what lies under a key. */
export interface Placement {
  /** The k nodes that should have it, nearest first. */
  readonly proper: readonly Member[];
  /** Who takes a copy instead of a proper holder that is down, nearest first. */
  readonly spare: readonly Member[];
}

// Looked at per copy: far enough to find other owners and live stand-ins, near enough that every node agrees on who they are.
const windowPerCopy = 4;

/** How many of the nearest members decide who keeps what lies under a key. */
export function windowOf(copies: number): number {
  return copies * windowPerCopy;
}

/**
 * The holders of a key among the members nearest to it: closest first, each from another owner where the window allows (one person's machines
 * fall asleep, and are lost, together). Every node with the same member table comes to the same result.
 */
export function placeKey(
  closest: (key: Uint8Array, count: number) => readonly Member[],
  key: Uint8Array,
  copies: number,
): Placement {
  const window = closest(key, windowOf(copies));
  const owners = new Set<string>();
  const proper: Member[] = [];
  for (const member of window) {
    if (proper.length === copies || owners.has(member.owner)) continue;
    owners.add(member.owner);
    proper.push(member);
  }
  for (const member of window) {
    if (proper.length === copies) break;
    if (!proper.includes(member)) proper.push(member);
  }
  return { proper, spare: window.filter((member) => !proper.includes(member)) };
}

/**
 * Durable copies that make a write succeed: a majority of k. A ring of one or two is content with one, for in a ring of two either
 * node must be able to go on alone; so there reads are sure only when both have answered.
 */
export function writeQuorum(members: number, copies: number): number {
  return members <= 2 ? 1 : Math.floor(Math.min(copies, members) / 2) + 1;
}

/** Answers from proper holders that together cannot have missed an acknowledged write. */
export function readQuorum(members: number, copies: number): number {
  return Math.min(copies, members) - writeQuorum(members, copies) + 1;
}
