import { setTimeout as wait } from 'node:timers/promises';

/** Lets clients wait that deserve it, but never more than so many at once: whoever opens many connections would otherwise have us keep them all. */
export class Tarpit {
  readonly #places: number;
  #waiting = 0;

  constructor(places: number) {
    this.#places = places;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Ends after so long, or with the signal; at once where all places are taken. */
  async hold(ms: number, signal: AbortSignal): Promise<void> {
    if (ms <= 0 || this.#waiting >= this.#places) return;
    this.#waiting += 1;
    await wait(ms, undefined, { signal }).catch(() => undefined);
    this.#waiting -= 1;
  }
}
