import { mkdirSync } from 'node:fs';
import { setImmediate as breath } from 'node:timers/promises';
import { open, type RootDatabase } from 'lmdb';
import { firstTraceIdAt } from './id.ts';

export type Fact = string | number | boolean | readonly string[] | undefined;

/** One thing that happened to one message: facts for people and programs, never content, never secrets. */
export interface TraceEvent {
  readonly what: string;
  readonly [fact: string]: Fact;
}

export type StoredEvent = TraceEvent & { readonly at: number };

/** A fact as text; empty where it is not known. */
export function factText(fact: Fact): string {
  return typeof fact === 'object' ? fact.join(' ') : String(fact ?? '');
}

export interface TraceSummary {
  readonly id: string;
  readonly at: number;
}

// `{"at":1790000000000,"what":` and a name.
const markWithin = 80;

type Key = [id: string, at: number, serial: number];

// A decision with its evidence and trace is some 6 KiB; more than this is a mistake and is cut to its name.
const maxEventBytes = 64 * 1024;
// One message with 100 recipients and many attempts stays below this; a loop would not.
const maxEventsRead = 5_000;
const keepMs = 30 * 86_400_000;
const sweepEveryMs = 3_600_000;
// One transaction: other writers wait for it.
const sweepBatch = 1_000;

// A message brings ten events within some milliseconds. Written one by one they would cost a commit and a sync for each, on
// the disk that the mail waits for; nobody reads a timeline so soon.
const gatherMs = 20;

/**
 * Keeps the timelines of messages for 30 days in an lmdb environment that the node, the gateway and commands share.
 * Writes are gathered and not waited for: a kill or a power cut may lose the last moments of a timeline, never mail.
 */
export class TraceStore {
  readonly #root: RootDatabase<Buffer, Key>;
  readonly #now: () => number;
  readonly #onFault: (fault: unknown) => void;
  readonly #sweeper: NodeJS.Timeout;
  #serial = 0;
  #gathered: { readonly key: Key; readonly event: Buffer }[] = [];
  #writing: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: {
    readonly folder: string;
    readonly now: () => number;
    readonly onFault: (fault: unknown) => void;
  }) {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    this.#root = open<Buffer, Key>({
      path: options.folder,
      encoding: 'binary',
      overlappingSync: false,
      maxReaders: 64,
    });
    this.#now = options.now;
    this.#onFault = options.onFault;
    this.#sweeper = setInterval(() => this.sweep(), sweepEveryMs).unref();
  }

  /** Adds an event to the timeline of `id`. Never throws: a trace that cannot be written must not stop mail. */
  readonly record = (id: string, event: TraceEvent): void => {
    this.#serial = (this.#serial + 1) % 1_000_000;
    const at = this.#now();
    const whole = Buffer.from(JSON.stringify({ at, ...event }));
    const cut = { at, what: event.what, cut: `${whole.length} bytes` };
    // The process id keeps two processes' events of one millisecond apart.
    const key: Key = [id.slice(0, 64), at, (process.pid % 1_000) * 1_000_000 + this.#serial];
    this.#gathered.push({ key, event: whole.length > maxEventBytes ? Buffer.from(JSON.stringify(cut)) : whole });
    this.#writing ??= setTimeout(() => this.#write(), gatherMs);
  };

  /** All of one turn of the event loop are one commit. */
  #write(): void {
    clearTimeout(this.#writing);
    this.#writing = undefined;
    for (const { key, event } of this.#gathered.splice(0)) this.#root.put(key, event).catch(this.#onFault);
  }

  /** The timeline of `id`, oldest first. */
  read(id: string): StoredEvent[] {
    const range = this.#root.getRange({
      start: [id, 0, 0],
      end: [id, Number.MAX_SAFE_INTEGER, 0],
      limit: maxEventsRead,
    });
    return [...range].map(({ value }) => JSON.parse(value.toString()) as StoredEvent);
  }

  /** The newest timelines that began within `sinceMs`, newest first. Ids begin with their time, so the range is short. */
  recent(firstId: string, limit: number): TraceSummary[] {
    const found = new Map<string, number>();
    for (const key of this.#root.getKeys({ start: ['\uffff', 0, 0], end: [firstId, 0, 0], reverse: true })) {
      found.set(key[0], key[1]);
      if (found.size > limit) break;
    }
    return [...found].slice(0, limit).map(([id, at]) => ({ id, at }));
  }

  /** Every event of one kind whose timeline began at `firstId` or later, oldest first. Reads as it goes; events of other kinds are passed over unread. */
  *eventsOf(what: string, firstId: string): Iterable<{ readonly id: string; readonly event: StoredEvent }> {
    const mark = Buffer.from(`,"what":${JSON.stringify(what)}`);
    for (const { key, value } of this.#root.getRange({ start: [firstId, 0, 0] })) {
      // `at` and `what` come first, as they are written.
      if (value.subarray(0, markWithin).indexOf(mark) < 0) continue;
      yield { id: key[0], event: JSON.parse(value.toString()) as StoredEvent };
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    this.#closed = true;
    await this.#sweeping;
    this.#write();
    await this.#root.flushed;
    await this.#root.close();
  }

  /** Forgets all timelines that began more than 30 days ago; done by itself every hour. */
  sweep(): void {
    this.#sweeping = this.#sweeping.then(() => this.#forgetBefore(this.#now() - keepMs)).catch(this.#onFault);
  }

  // All of them, however many: a fixed number each hour would be less than a busy gateway adds.
  async #forgetBefore(time: number): Promise<void> {
    // Ids begin with their time, so the old ones come first.
    const end: Key = [firstTraceIdAt(time), 0, 0];
    while (!this.#closed) {
      const keys = [...this.#root.getKeys({ end, limit: sweepBatch })];
      if (keys.length === 0) return;
      await this.#root.transaction(() => {
        for (const key of keys) this.#root.removeSync(key);
      });
      await breath();
    }
  }
}
