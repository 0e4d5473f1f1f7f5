import type { Log as PostLog } from '../log/log.ts';

// What other nodes of the user write is told within moments; this is for what was not heard. Each look is three questions, so only for what somebody looks at.
const lookEveryMs = 60_000;

/** When to look in the ring for what other nodes of the same user wrote into a log. */
export class News {
  readonly #catchUp: () => void;
  readonly #forget: () => void;
  #watchers = 0;
  #timer: NodeJS.Timeout | undefined;
  /** By the process's own clock, which does not jump. */
  #lookedAt = performance.now();
  #stopped = false;

  constructor(log: PostLog, catchUp: () => void) {
    this.#catchUp = catchUp;
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

  #look(): void {
    if (this.#stopped) return;
    this.#lookedAt = performance.now();
    this.#catchUp();
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  stop(): void {
    this.#stopped = true;
    this.#forget();
    this.#rest();
  }
}
