import type { Clock, Member } from '../overlay/overlay.ts';
import { positionOf } from '../overlay/placement.ts';
import { commonBits } from '../overlay/routing-table.ts';

export interface VicinityParts {
  readonly self: () => Member;
  /** The members nearest to a position, nearest first, the node itself among them. */
  readonly closest: (position: Uint8Array, count: number) => readonly Member[];
  /** How many of the nearest members decide who keeps a key. */
  readonly window: number;
  readonly now: Clock;
}

// Who has just been pushed out of a window by newcomers has still its copies to hand over.
const margin = 4;
// Places are hashes: that a half of what is larger than this holds fewer than count is out of the question.
const lookedAtPerWindow = 10;
// In a ring larger than the member table those who are known change without an event.
const freshMs = 60_000;

// A hash each, asked for whenever somebody comes up.
const positions = new WeakMap<Member, Uint8Array>();

function placeOf(member: Member): Uint8Array {
  const known = positions.get(member) ?? positionOf(member.peerKey);
  positions.set(member, known);
  return known;
}

interface Seen {
  readonly at: number;
  /** Those that share as many bits with this node; 0: everyone. */
  readonly bits: number;
  readonly others: readonly Member[];
}

/**
 * The members with which this node may share a key: the two can both be among the nearest to it. In a small ring that is everyone; in one of
 * thousands some dozen, and nothing that others do changes who keeps what lies here.
 */
export class Vicinity {
  readonly #parts: VicinityParts;
  #seen: Seen | undefined;

  constructor(parts: VicinityParts) {
    this.#parts = parts;
  }

  /** To be called when somebody became a member, or is none any more. */
  changed(): void {
    this.#seen = undefined;
  }

  /** Without the node itself. */
  others(): readonly Member[] {
    return this.#look().others;
  }

  includes(member: Member): boolean {
    const { bits } = this.#look();
    return bits === 0 || commonBits(placeOf(this.#parts.self()), placeOf(member)) >= bits;
  }

  #look(): Seen {
    const now = this.#parts.now();
    if (this.#seen === undefined || Math.abs(now - this.#seen.at) > freshMs) this.#seen = this.#lookAnew(now);
    return this.#seen;
  }

  /**
   * The nearest to a key are all in the smallest subtree around it that holds as many as decide. If this node is one of them, that subtree is one of
   * those around this node, and one of its halves holds fewer: the largest such is what counts.
   */
  #lookAnew(at: number): Seen {
    const { closest, window } = this.#parts;
    const { peerId } = this.#parts.self();
    const least = window + margin;
    const most = window * lookedAtPerWindow;
    const self = placeOf(this.#parts.self());
    const near = closest(self, most);
    const others = near.filter((member) => member.peerId !== peerId);
    if (near.length < most) return { at, bits: 0, others };
    const shared = others.map((member) => commonBits(self, placeOf(member)));
    const sharing = (bits: number): number => 1 + shared.filter((one) => one >= bits).length;
    // Of those that share no more than the farthest not all were looked at.
    let bits = (shared.at(-1) ?? 0) + 1;
    while (sharing(bits + 1) >= least && sharing(bits) - sharing(bits + 1) >= least) bits += 1;
    return { at, bits, others: others.filter((_, index) => (shared[index] ?? 0) >= bits) };
  }
}
