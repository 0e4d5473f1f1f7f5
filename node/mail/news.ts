import type { Log as PostLog } from '../log/log.ts';

// Each look is three questions, so at rest only for what somebody looks at, and rarely.
const lookEveryMs = 60_000;
// Where something was just written, a hint may have come too soon or not at all, and another node's head for the same version may have turned up late.
const lookAgainMs: readonly number[] = [2_000, 10_000];

/**
 * When to look in the ring for what other nodes of the same user wrote into a log: when they tell so, some seconds after anything was written,
 * and from time to time while somebody watches.
 */
export class News {
  readonly #look: () => void;
  readonly #forget: () => void;
  #watchers = 0;
  #timer: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;
  /** By the process's own clock, which does not jump. */
  #lookedAt = performance.now();
  #stopped = false;

  constructor(log: PostLog, look: () => void) {
    this.#look = () => {
      if (this.#stopped) return;
      this.#lookedAt = performance.now();
      look();
    };
    this.#forget = log.onNews(() => this.#look());
  }

  /** Somebody looks at it from now on, until the returned function is called. */
  watch(): () => void {
    this.#watchers++;
    this.#timer ??= setInterval(() => this.glance(), lookEveryMs).unref();
    return () => {
      this.#watchers--;
      if (this.#watchers === 0) this.#rest();
    };
  }

  /** Somebody looks at it now. */
  glance(): void {
    if (performance.now() - this.#lookedAt >= lookEveryMs - 1_000) this.#look();
  }

  /** Something was written or came in. */
  stir(): void {
    if (this.#stopped) return;
    clearTimeout(this.#again);
    this.#lookIn(lookAgainMs);
  }

  #lookIn([first, ...later]: readonly number[]): void {
    if (first === undefined) return;
    this.#again = setTimeout(() => {
      this.#look();
      this.#lookIn(later);
    }, first).unref();
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  stop(): void {
    this.#stopped = true;
    this.#forget();
    clearTimeout(this.#again);
    this.#rest();
  }
}
