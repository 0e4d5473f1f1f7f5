/** One look at both clocks, in ms. */
export interface Look {
  readonly wall: number;
  readonly steady: number;
}

export const lookEveryMs = 2_000;
// A busy machine is late by a second or two; a machine that slept, or was stopped, by more than this. Being wrong costs a ping a peer.
const lateMs = 6_000;

/**
 * Whether the time between two looks, meant to be `everyMs`, was a sleep or a jump: the steady clock stands still while Linux is suspended and
 * goes on while a process is stopped, so either of the two tells. A wall clock that was set back tells too: whoever sets it has woken up.
 */
export function jumped(before: Look, now: Look, everyMs: number): boolean {
  const wall = now.wall - before.wall;
  const steady = now.steady - before.steady;
  return steady - everyMs > lateMs || Math.abs(wall - steady) > lateMs;
}

/** Calls `woke` within {@link lookEveryMs} of a sleep or a jump of the clock. */
export class WakeWatch {
  readonly #wall: () => number;
  readonly #woke: (ms: number) => void;
  #timer: NodeJS.Timeout | undefined;
  #last: Look | undefined;

  constructor(wall: () => number, woke: (ms: number) => void) {
    this.#wall = wall;
    this.#woke = woke;
  }

  start(): void {
    this.#last = this.#look();
    this.#timer = setInterval(() => {
      const now = this.#look();
      const before = this.#last ?? now;
      this.#last = now;
      if (jumped(before, now, lookEveryMs)) this.#woke(now.wall - before.wall);
    }, lookEveryMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): Look {
    return { wall: this.#wall(), steady: performance.now() };
  }
}
