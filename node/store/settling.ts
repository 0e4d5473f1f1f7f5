import type { Member } from '../overlay/overlay.ts';
import { type Background, pause } from './background.ts';
import { StoreFault } from './fault.ts';
import type { Neighbours } from './neighbours.ts';

const firstRetryMs = 200;
const lastRetryMs = 5_000;
// A member that never finishes must not keep this node from answering for ever: by then background repair has passed twice.
const giveUpMs = 10 * 60_000;

/**
 * Whether this node may say "I have none". A node that has just joined, or lost its disk, is nearest to keys whose copies it has not been
 * given yet; with two such nodes a majority would deny what the ring holds. So it asks every member that is up to hand over what belongs
 * here, and until they have, it answers "I do not know". Once settled it stays so: later copies it missed are covered by the quorum.
 */
export class Settling {
  readonly #neighbours: Neighbours;
  readonly #background: Background;
  readonly #keep: () => Promise<void>;
  readonly #toldOfOthers: boolean;
  readonly #synced = new Set<string>();
  readonly #asking = new Set<string>();
  #settled: boolean;

  /** `keep` writes down that the node has settled, so that a restart need not ask again; `toldOfOthers`: it joined a ring that others had begun. */
  constructor(parts: {
    neighbours: Neighbours;
    background: Background;
    settled: boolean;
    toldOfOthers: boolean;
    keep: () => Promise<void>;
  }) {
    this.#neighbours = parts.neighbours;
    this.#background = parts.background;
    this.#settled = parts.settled;
    this.#toldOfOthers = parts.toldOfOthers;
    this.#keep = parts.keep;
  }

  start(): void {
    if (this.#settled) return;
    this.askOthers();
    this.#background.own(this.#giveUpInTime(), () => undefined);
  }

  async #giveUpInTime(): Promise<void> {
    const { signal } = this.#background;
    // A node that has met nobody has nothing to give up on: it still does not know.
    do await pause(giveUpMs, signal);
    while (!signal.aborted && !this.#isRing() && this.#neighbours.others().length === 0);
    if (!signal.aborted) this.#settle();
  }

  isSettled(): boolean {
    return this.#settled || this.#isRing();
  }

  /** Whether this node alone is the ring, so that what lies here is all there is. One that was told of others and has not met them is not. */
  #isRing(): boolean {
    return !this.#toldOfOthers && this.#neighbours.others().length === 0;
  }

  /** Throws StoreFault `unavailable` while "none" would be a guess. */
  certain(): void {
    if (!this.isSettled())
      throw new StoreFault('unavailable', 'this node is new and has not been given its copies yet');
  }

  /** What is written to a node that is alone is there from the beginning: whoever joins later has nothing to hand over. */
  wrote(): void {
    if (!this.#settled && this.#isRing()) this.#settle();
  }

  /** Asks every member that is up and has not been asked. */
  askOthers(): void {
    if (this.#settled) return;
    for (const member of this.#neighbours.others())
      if (this.#neighbours.isUp(member) && !this.#synced.has(member.peerId) && !this.#asking.has(member.peerId)) {
        this.#asking.add(member.peerId);
        this.#background.own(this.#ask(member), () => undefined);
      }
  }

  async #ask(member: Member): Promise<void> {
    let waitMs = firstRetryMs;
    while (!this.#settled && !this.#background.signal.aborted && this.#neighbours.isUp(member)) {
      try {
        await this.#neighbours.remote(member).sync();
        this.#synced.add(member.peerId);
        break;
      } catch {
        // Not started yet, or busy: asked again until it is down.
        await pause(waitMs, this.#background.signal);
        waitMs = Math.min(waitMs * 2, lastRetryMs);
      }
    }
    this.#asking.delete(member.peerId);
    this.#consider();
  }

  #consider(): void {
    const up = this.#neighbours.others().filter((member) => this.#neighbours.isUp(member));
    if (this.#synced.size > 0 && up.every((member) => this.#synced.has(member.peerId))) this.#settle();
  }

  #settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#background.own(this.#keep(), () => undefined);
  }
}
