import { setImmediate as turn } from 'node:timers/promises';

/** Lets others have the event loop now and then during long work: call it once per item. */
export class Turns {
  readonly #every: number;
  #items = 0;

  constructor(every: number) {
    this.#every = every;
  }

  async next(): Promise<void> {
    this.#items += 1;
    if (this.#items % this.#every === 0) await turn();
  }
}
