import { createHash } from 'node:crypto';
import type { Address } from '../../../policy/address.ts';
import type { Followed } from '../../log/following.ts';
import type { LogItem } from '../../log/place.ts';
import { retryDelayMs } from '../backoff.ts';
import { sameBytes } from '../field.ts';
import type { Log } from '../notify.ts';
import type { Mark } from './group-table.ts';
import type { Saying, SayingOpened } from './saying.ts';

// Frames that came before their turn; more of them and the log is read, which has them all.
const maxEarly = 64;
// When a speaker's log was merged and its numbers moved, so far back is looked again; what was taken already is recognised.
const lookBack = 500;
// Synced together while the next ones are taken: a crash brings these again, as a crash at any point may.
const marksAtOnce = 64;

export interface LaneOptions {
  readonly writer: Uint8Array;
  readonly address: Address;
  readonly mark: Mark;
  readonly open: (bytes: Uint8Array) => SayingOpened;
  /** The speaker's log in the ring now; undefined where there is none yet. */
  readonly follow: () => Promise<Followed | undefined>;
  /** Has a saying handled, unless it was before. What it throws leaves the saying for the next look. */
  readonly take: (saying: Saying) => Promise<void>;
  readonly keepMark: (mark: Mark) => Promise<void>;
  readonly log: Log;
}

/**
 * What one speaker says to one group, in order, each once: frames are taken as they come, and where one is missing his log is read, which has
 * everything. A speaker who floods, or whose sayings the handler chokes on, holds up nobody but himself.
 */
export class Lane {
  readonly address: Address;
  readonly #options: LaneOptions;
  readonly #early = new Map<number, Uint8Array>();
  readonly #marking = new Set<Promise<void>>();
  #mark: Mark;
  #behind = false;
  #running: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #failures = 0;
  #stopped = false;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.address = options.address;
    this.#mark = options.mark;
  }

  isNew(seq: number): boolean {
    return seq >= this.#mark.next && !this.#early.has(seq);
  }

  /** A frame that says it is number `seq`, proven. Never rejects: what fails now is read from the log later. */
  offer(seq: number, frame: Uint8Array): void {
    if (!this.isNew(seq)) return;
    if (this.#early.size < maxEarly) this.#early.set(seq, frame);
    else this.#behind = true;
    this.#start();
  }

  /** Reads the speaker's log to its end. Never rejects. */
  async catchUp(): Promise<void> {
    this.#behind = true;
    this.#start();
    await this.#running;
  }

  #start(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#running ??= this.#work().then(
      () => {
        this.#failures = 0;
      },
      (error: unknown) => this.#tryAgain(error),
    );
  }

  /** The ring, or the handler, could not do it now: soon again, from the log. */
  #tryAgain(error: unknown): void {
    this.#early.clear();
    this.#failures++;
    this.#options.log.info({ err: error, speaker: this.address }, 'a speaker could not be followed; tried again');
    if (this.#stopped) return;
    this.#behind = true;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#start(), retryDelayMs(this.#failures));
  }

  async #work(): Promise<void> {
    // So that `#running` is set before it is cleared.
    await Promise.resolve();
    try {
      while (!this.#stopped && (this.#behind || this.#early.size > 0)) {
        const { next } = this.#mark;
        const frame = this.#early.get(next);
        if (frame !== undefined) {
          this.#early.delete(next);
          if (!(await this.#take(next, frame))) return;
        } else await this.#read();
      }
    } finally {
      // In the same turn as the end: who comes later starts anew.
      this.#running = undefined;
    }
  }

  async #read(): Promise<void> {
    this.#behind = false;
    await this.#readLog();
    for (const seq of this.#early.keys()) if (seq < this.#mark.next) this.#early.delete(seq);
    // Said to be in the log and not to be seen there: an old head was found. The next look finds the newer one.
    if (!this.#early.has(this.#mark.next)) this.#early.clear();
  }

  async #readLog(): Promise<void> {
    const followed = await this.#options.follow();
    if (followed === undefined || followed.length < this.#mark.next) return;
    if (!(await this.#isSame(followed))) {
      this.#options.log.warn(
        { speaker: this.address, at: this.#mark.next },
        'a speaker’s log was merged; looking back',
      );
      this.#mark = { next: Math.max(0, this.#mark.next - lookBack), last: new Uint8Array() };
    }
    for await (const item of followed.read(this.#mark.next)) {
      if (this.#stopped) return;
      if (item.kind === 'record') {
        if (!(await this.#take(item.seq, item.record))) return;
      } else await this.#pass(item);
    }
  }

  /** Whether the record before the mark is still the one that was taken. */
  async #isSame(followed: Followed): Promise<boolean> {
    const { next, last } = this.#mark;
    if (last.length === 0) return true;
    for await (const item of followed.read(next - 1))
      return item.kind === 'record' && sameBytes(hashOf(item.record), last);
    return false;
  }

  /** What holds nothing that was said: a merge, or what is lost for good. */
  async #pass(item: LogItem): Promise<void> {
    if (item.kind === 'missing')
      this.#options.log.warn(
        { speaker: this.address, seq: item.seq, count: item.count },
        'a part of a speaker’s log is lost; what follows is read',
      );
    await this.#advance({ next: item.after.seq, last: new Uint8Array() });
  }

  /** False where nothing can be said of it yet: then what comes after it has to wait as well. */
  async #take(seq: number, bytes: Uint8Array): Promise<boolean> {
    const { writer, open, take, log } = this.#options;
    const opened = open(bytes);
    if (opened.kind === 'later') return false;
    if (opened.kind === 'opened' && sameBytes(opened.from.signingKey, writer)) await take(opened);
    else {
      const reason = opened.kind === 'never' ? opened.reason : 'somebody else said it';
      log.warn({ speaker: this.address, seq, reason }, 'a record in a speaker’s log is passed over');
    }
    await this.#advance({ next: seq + 1, last: hashOf(bytes) });
    return true;
  }

  async #advance(mark: Mark): Promise<void> {
    this.#mark = mark;
    if (this.#marking.size >= marksAtOnce) await Promise.all(this.#marking);
    const marking = this.#options
      .keepMark(mark)
      .catch((error: unknown) => this.#options.log.error({ err: error }, 'a mark was not kept; its saying comes again'))
      .finally(() => this.#marking.delete(marking));
    this.#marking.add(marking);
  }

  /** Resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    await this.#running;
    await Promise.all(this.#marking);
  }
}

function hashOf(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest();
}
