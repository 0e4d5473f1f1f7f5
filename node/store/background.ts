import { StoreFault } from './fault.ts';

/** Owns what goes on after a call has answered: the third copy, a repaired replica. Nothing of it outlives {@link stop}. */
export class Background {
  readonly #controller = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #limit: number;

  /** At most `limit` tasks of the kind that may be left out. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Aborts when the owner stops. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Takes a task over; what it throws has been told to whoever needed to know, or is told by `failed`. */
  own(task: Promise<unknown>, failed: (cause: unknown) => void): void {
    const running: Promise<void> = task.then(
      () => {
        this.#running.delete(running);
      },
      (cause: unknown) => {
        this.#running.delete(running);
        if (!this.signal.aborted) failed(cause);
      },
    );
    this.#running.add(running);
  }

  /** Starts a task that may be left out when there is too much to do (background repair finds it again). */
  offer(task: () => Promise<unknown>, failed: (cause: unknown) => void): void {
    if (!this.signal.aborted && this.#running.size < this.#limit) this.own(task(), failed);
  }

  /** Does a caller's work, which {@link stop} waits for; refused once the owner stops. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    if (this.signal.aborted) throw new StoreFault('stopped', 'the store has been stopped');
    const doing = work();
    this.own(doing, () => undefined);
    return doing;
  }

  /** Resolves when all that is under way has ended. */
  async #idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async stop(): Promise<void> {
    this.#controller.abort();
    await this.#idle();
  }
}

/** Resolves after `ms`, or at once when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
