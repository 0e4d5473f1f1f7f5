type Line = { running: number; readonly waiting: (() => void)[] };

/** So many at once of one kind, and so many more who wait until it is their turn, first come, first served. */
export class Turns {
  readonly #atOnce: number;
  readonly #maxWaiting: number;
  /** Only of kinds of which something runs. */
  readonly #lines = new Map<string, Line>();

  constructor(atOnce: number, maxWaiting: number) {
    this.#atOnce = atOnce;
    this.#maxWaiting = maxWaiting;
  }

  /** Resolves to true when it is the caller's turn, which {@link leave} ends; to false where too many wait, or the signal fires first. */
  async take(kind: string, signal: AbortSignal): Promise<boolean> {
    const line = this.#lines.get(kind) ?? { running: 0, waiting: [] };
    this.#lines.set(kind, line);
    if (line.running < this.#atOnce) {
      line.running += 1;
      return true;
    }
    if (line.waiting.length >= this.#maxWaiting || signal.aborted) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const called = (): void => resolve(true);
    const gone = (): void => {
      const place = line.waiting.indexOf(called);
      if (place >= 0) line.waiting.splice(place, 1);
      resolve(false);
    };
    line.waiting.push(called);
    signal.addEventListener('abort', gone);
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', gone);
    }
  }

  /** The place goes to who has waited longest. */
  leave(kind: string): void {
    const line = this.#lines.get(kind);
    if (line === undefined) return;
    const next = line.waiting.shift();
    if (next !== undefined) next();
    else if (line.running > 1) line.running -= 1;
    else this.#lines.delete(kind);
  }
}
