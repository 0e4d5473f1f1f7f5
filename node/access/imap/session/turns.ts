import { setImmediate as turn } from 'node:timers/promises';

/** Lets others have the event loop now and then during long work: call it once per item. */
export class Turns {
  readonly #every: number;
  #items = 0;

  constructor(every: number) {
    this.#every = every;
  }

  async next(): Promise<void> {
    if (this.due()) await turn();
  }

  /** The same for very many small items: whether it is time to {@link give} way. */
  due(): boolean {
    this.#items += 1;
    return this.#items % this.#every === 0;
  }

  async give(): Promise<void> {
    await turn();
  }
}
