/** Lets at most `width` pieces of work per name go on at once; the rest wait in order. */
export class Lanes {
  readonly #width: number;
  readonly #lanes = new Map<string, { busy: number; waiting: (() => void)[] }>();

  constructor(width: number) {
    this.#width = width;
  }

  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    await this.#enter(name);
    try {
      return await work();
    } finally {
      this.#leave(name);
    }
  }

  #enter(name: string): Promise<void> | undefined {
    const lane = this.#lanes.get(name) ?? { busy: 0, waiting: [] };
    this.#lanes.set(name, lane);
    if (lane.busy < this.#width) {
      lane.busy++;
      return undefined;
    }
    return new Promise((resolve) => lane.waiting.push(resolve));
  }

  #leave(name: string): void {
    const lane = this.#lanes.get(name);
    if (lane === undefined) return;
    const next = lane.waiting.shift();
    if (next !== undefined) return next(); // The place is handed on, so that nobody slips in between.
    if (--lane.busy === 0) this.#lanes.delete(name);
  }
}
