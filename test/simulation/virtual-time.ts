import { syncBuiltinESMExports } from 'node:module';
import timersPromises from 'node:timers/promises';

interface Due {
  readonly at: number;
  /** Among those due at the same moment the first asked is the first called. */
  readonly order: number;
  readonly everyMs: number | undefined;
  call: (() => void) | undefined;
}

const realImmediate = setImmediate;

/**
 * A clock that stands still while anything has something to do, and jumps to the next timer when nothing has. While it is installed it stands
 * behind the timers of the process, so that the product's code runs in it unchanged; what that code does may be promises and timers, no
 * input or output.
 */
export class VirtualTime {
  #now: number;
  #order = 0;
  readonly #heap: Due[] = [];
  #called = 0;

  constructor(startMs: number) {
    this.#now = startMs;
  }

  /** Whole ms since the epoch, as Date.now gives them. */
  readonly now = (): number => Math.floor(this.#now);

  /** Timers called so far. */
  get called(): number {
    return this.#called;
  }

  after(ms: number, call: () => void, everyMs?: number): Due {
    const due = { at: this.#now + Math.max(0, ms || 0), order: this.#order++, everyMs, call };
    this.#push(due);
    return due;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Calls what falls due up to `untilMs`, each when all that the ones before it set going has come to rest. */
  async run(untilMs: number): Promise<void> {
    await settled();
    for (let due = this.#heap[0]; due !== undefined && due.at <= untilMs; due = this.#heap[0]) {
      this.#pop();
      const { call } = due;
      if (call === undefined) continue;
      this.#now = due.at;
      this.#called += 1;
      if (due.everyMs === undefined) due.call = undefined;
      else this.#push(Object.assign(due, { at: due.at + due.everyMs, order: this.#order++ }));
      call();
      await settled();
    }
    this.#now = Math.max(this.#now, untilMs);
  }

  /** Runs until the work is done; throws when nothing is left that could finish it. */
  async during<T>(work: Promise<T>): Promise<T> {
    const state = { over: false };
    const ended = work.finally(() => {
      state.over = true;
    });
    ended.catch(() => undefined); // Given to the caller below.
    await settled();
    while (!state.over) {
      const next = this.#heap[0];
      if (next === undefined) throw new Error('the work waits for nothing that could come');
      await this.run(next.at);
    }
    return ended;
  }

  /** Puts this clock behind the timers of the process until the returned function is called. */
  install(): () => void {
    const kept = { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate };
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    const promises = { ...timersPromises };
    const start =
      (repeat: boolean) =>
      (call: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): Timer =>
        new Timer(this.after(ms, () => call(...args), repeat ? Math.max(1, ms) : undefined));
    const clear = (timer: unknown): void => {
      if (timer instanceof Timer) timer.clear();
    };
    Object.assign(globalThis, {
      setTimeout: start(false),
      setInterval: start(true),
      setImmediate: (call: (...args: unknown[]) => void, ...args: unknown[]) => start(false)(call, 0, ...args),
      clearTimeout: clear,
      clearInterval: clear,
      clearImmediate: clear,
    });
    AbortSignal.timeout = (ms) => {
      const controller = new AbortController();
      this.after(ms, () => controller.abort(new DOMException('timed out', 'TimeoutError')));
      return controller.signal;
    };
    Object.assign(timersPromises, {
      setTimeout: async (ms: number, value: unknown) => this.sleep(ms).then(() => value),
      setImmediate: async (value: unknown) => this.sleep(0).then(() => value),
    });
    syncBuiltinESMExports();
    return () => {
      Object.assign(globalThis, kept);
      AbortSignal.timeout = timeout;
      Object.assign(timersPromises, promises);
      syncBuiltinESMExports();
    };
  }

  #push(due: Due): void {
    const heap = this.#heap;
    heap.push(due);
    let at = heap.length - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!isBefore(due, heap[up] as Due)) break;
      heap[at] = heap[up] as Due;
      at = up;
    }
    heap[at] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Due, heap[child] as Due)) child += 1;
      if (!isBefore(heap[child] as Due, last)) break;
      heap[at] = heap[child] as Due;
      at = child;
    }
    heap[at] = last;
  }
}

/** What the product's code gets for a timer. */
class Timer {
  readonly #due: Due;

  constructor(due: Due) {
    this.#due = due;
  }

  clear(): void {
    this.#due.call = undefined;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}

function isBefore(left: Due, right: Due): boolean {
  return left.at === right.at ? left.order < right.order : left.at < right.at;
}

/** All promises that can be settled without a timer are: Node empties its queue of them before it calls the next immediate. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    realImmediate(resolve);
  });
}
