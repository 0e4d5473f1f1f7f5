import type { Stream } from '@libp2p/interface';

/** A budget of bytes a second, with a second's worth of burst. */
export class Pace {
  readonly #perSecond: number;
  readonly #now: () => number;
  #left: number;
  #at: number;

  constructor(perSecond: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#now = now;
    this.#left = perSecond;
    this.#at = now();
  }

  /** Takes `bytes` and says how many ms to wait before more is taken; 0 while there is budget. */
  take(bytes: number): number {
    const now = this.#now();
    this.#left = Math.min(this.#perSecond, this.#left + ((now - this.#at) / 1_000) * this.#perSecond);
    this.#at = now;
    this.#left -= bytes;
    return this.#left >= 0 ? 0 : Math.ceil((-this.#left / this.#perSecond) * 1_000);
  }
}

/**
 * Hands on what comes on either stream to the other, no faster than the slower side reads and the pace allows; what cannot go on is not read, so at
 * most a window waits here. Resolves when both are over; the end of one is the end of the other.
 */
export async function joinStreams(left: Stream, right: Stream, pace: Pace): Promise<void> {
  const ended = Promise.withResolvers<void>();
  const timers = new Set<NodeJS.Timeout>();
  const oneWay = (from: Stream, to: Stream): void => {
    let full = false;
    let resting = false;
    const goOn = (): void => {
      if (!full && !resting && from.status === 'open') from.resume();
    };
    from.addEventListener('message', ({ data }) => {
      if (to.status !== 'open') return;
      full = !to.send(data.subarray());
      const waitMs = pace.take(data.byteLength);
      if (waitMs > 0 && !resting) {
        resting = true;
        const timer = setTimeout(() => {
          timers.delete(timer);
          resting = false;
          goOn();
        }, waitMs);
        timers.add(timer);
      }
      if ((full || resting) && from.status === 'open') from.pause();
    });
    to.addEventListener('drain', () => {
      full = false;
      goOn();
    });
    const end = (): void => ended.resolve();
    from.addEventListener('close', end);
    from.addEventListener('remoteCloseWrite', end);
    if (from.status !== 'open') end();
  };
  oneWay(left, right);
  oneWay(right, left);
  await ended.promise;
  for (const timer of timers) clearTimeout(timer);
  for (const stream of [left, right]) stream.abort(new Error('the other side of the relay ended'));
}
