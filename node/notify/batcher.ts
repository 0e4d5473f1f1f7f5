import { NotifyFault } from './fault.ts';

interface Waiting<T, R> {
  readonly item: T;
  readonly bytes: number;
  readonly resolve: (answer: R) => void;
  readonly reject: (error: unknown) => void;
}

interface Line<T, R> {
  readonly waiting: Waiting<T, R>[];
  frames: number;
}

export interface BatchOptions<T, R> {
  /** Sends one frame of items to a peer; gives one answer each, in order. */
  readonly send: (peerId: string, items: readonly T[]) => Promise<readonly R[]>;
  readonly bytesOf: (item: T) => number;
  readonly maxBytes: number;
  readonly maxItems: number;
}

// Two frames on the way keep a line busy while one is being written to the other side's disk; what gathers meanwhile
// makes the next frame, so that a frame is one item when it is quiet and dozens when it is not.
const framesAtOnce = 2;
// 5,000 items of 6 KiB: 30 MB per peer that has stopped answering, until its deadline.
const maxWaiting = 5000;

/** Gathers single items for the same peer into frames. Order is kept per peer; nobody waits for a clock. */
export class Batcher<T, R> {
  readonly #options: BatchOptions<T, R>;
  /** By peer; a line is gone when it is empty. */
  readonly #lines = new Map<string, Line<T, R>>();

  constructor(options: BatchOptions<T, R>) {
    this.#options = options;
  }

  /** Rejects with what the frame met, or with NotifyFault `too-many` where too much waits for this peer already. */
  async add(peerId: string, item: T): Promise<R> {
    const line = this.#lines.get(peerId) ?? { waiting: [], frames: 0 };
    if (line.waiting.length >= maxWaiting) throw new NotifyFault('too-many', 'too much waits for that peer');
    this.#lines.set(peerId, line);
    return new Promise<R>((resolve, reject) => {
      line.waiting.push({ item, bytes: this.#options.bytesOf(item), resolve, reject });
      // After this turn of the event loop, so that a burst of callers shares the frame.
      queueMicrotask(() => this.#pump(peerId, line));
    });
  }

  #pump(peerId: string, line: Line<T, R>): void {
    while (line.frames < framesAtOnce && line.waiting.length > 0) {
      const frame = this.#take(line.waiting);
      line.frames++;
      this.#run(peerId, frame)
        .catch((error: unknown) => {
          for (const one of frame) one.reject(error);
        })
        .finally(() => {
          line.frames--;
          if (line.waiting.length > 0) this.#pump(peerId, line);
          else if (line.frames === 0) this.#lines.delete(peerId);
        });
    }
  }

  #take(waiting: Waiting<T, R>[]): Waiting<T, R>[] {
    let bytes = 0;
    let count = 0;
    for (const one of waiting) {
      bytes += one.bytes;
      if (count > 0 && (bytes > this.#options.maxBytes || count >= this.#options.maxItems)) break;
      count++;
    }
    return waiting.splice(0, count);
  }

  async #run(peerId: string, frame: readonly Waiting<T, R>[]): Promise<void> {
    const answers = await this.#options.send(
      peerId,
      frame.map((one) => one.item),
    );
    if (answers.length !== frame.length) throw new NotifyFault('damaged', 'not one answer for each item');
    frame.forEach((one, number) => one.resolve(answers[number] as R));
  }
}
