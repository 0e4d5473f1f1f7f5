import type { Address } from '../../policy/address.ts';
import type { Clock } from '../overlay/overlay.ts';
import { type BlockSink, getContent, putContent } from '../store/content.ts';
import { LogFault } from './fault.ts';
import type { LogKeys } from './head-seal.ts';
import type { LogHints } from './hints.ts';
import { maxRecordBytes } from './log-state.ts';
import { type LogItem, type Place, samePlace, type Takes } from './place.ts';
import { placeAt, readItems } from './reading.ts';
import { type LogTip, leaseMs } from './tip.ts';

// DESIGN §7.
const recordsPerSnapshot = 500;
// One head takes what waits, up to this: a bound on memory and on how long the next caller waits.
const maxRecordsPerHead = 5_000;

type Work =
  | { readonly kind: 'append'; readonly records: readonly Uint8Array[]; readonly at: Place | undefined }
  /** Done by itself, with nothing written at the same time. */
  | { readonly kind: 'alone'; readonly run: () => Promise<void> };

interface Waiting {
  readonly work: Work;
  readonly done: PromiseWithResolvers<{ first: number }>;
}

interface Parts {
  readonly name: string;
  readonly store: BlockSink;
  readonly owner: Address;
  readonly now: Clock;
  readonly takes: Takes;
  readonly hints: LogHints | undefined;
}

/** The open log of its one writer: one commit at a time, with all that waits when it starts. */
export class OwnLog {
  readonly name: string;
  readonly #tip: LogTip;
  readonly #keys: LogKeys;
  readonly #parts: Parts;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #refreshing: Promise<boolean> | undefined;
  #closed = false;

  constructor(tip: LogTip, parts: Parts, keys: LogKeys) {
    this.name = parts.name;
    this.#tip = tip;
    this.#parts = parts;
    this.#keys = keys;
  }

  get version(): number {
    return this.#tip.version;
  }

  get length(): number {
    return this.place.seq;
  }

  get place(): Place {
    return this.#tip.state.end;
  }

  async append(records: readonly Uint8Array[], at?: Place): Promise<{ first: number }> {
    if (records.some((record) => record.length > maxRecordBytes))
      throw new LogFault('too-large', 'a record is at most 16 KiB');
    if (records.length === 0) return { first: this.length };
    const written = await this.#enqueue({ kind: 'append', records, at });
    this.#parts.hints?.tell(this.#tip.key, this.version);
    return written;
  }

  /** The same for all that ask while one is on its way to the holders. */
  async refresh(): Promise<boolean> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #refresh(): Promise<boolean> {
    const before = this.place;
    const { version } = this;
    await this.#alone(() => this.#tip.refresh());
    // A merge is news to the others; what was only followed is not.
    if (this.#tip.wroteAbove(version)) this.#parts.hints?.tell(this.#tip.key, this.version);
    return !samePlace(before, this.place);
  }

  onNews(listener: () => void): () => void {
    const { hints } = this.#parts;
    return hints?.hear(this.#tip.key, (version) => version > this.version && listener()) ?? (() => undefined);
  }

  async holds(place: Place): Promise<boolean> {
    const here = await placeAt(this.#tip.source, this.#tip.state, place.seq, this.#parts.takes);
    return here !== undefined && samePlace(here, place);
  }

  async saveSnapshot(at: Place, state: Uint8Array): Promise<void> {
    const lease = { identity: this.#parts.owner, until: this.#parts.now() + leaseMs };
    await this.#assertHolds(at);
    let snapshot: { at: Place; ref: Awaited<ReturnType<typeof putContent>> };
    try {
      snapshot = { at, ref: await putContent(this.#parts.store, state, this.#keys.secrecy, lease) };
    } catch (cause) {
      throw new LogFault('unavailable', 'the snapshot did not reach the write quorum', cause);
    }
    await this.#alone(async () => {
      await this.#assertHolds(at);
      await this.#tip.commit({ records: [], snapshot });
    });
  }

  async #assertHolds(at: Place): Promise<void> {
    if (!(await this.holds(at)))
      throw new LogFault('overtaken', `a snapshot of ${at.seq} items that are not the first ones of this log`);
  }

  async snapshot(): Promise<{ at: Place; state: Uint8Array } | undefined> {
    const { snapshot } = this.#tip.state;
    if (snapshot === undefined) return undefined;
    return { at: snapshot.at, state: await getContent(this.#tip.source, snapshot.ref) };
  }

  snapshotDue(): boolean {
    const { end, snapshot } = this.#tip.state;
    return end.seq - (snapshot?.at.seq ?? 0) > recordsPerSnapshot;
  }

  read(from: number): AsyncIterable<LogItem> {
    return readItems(this.#tip.source, this.#tip.state, from, this.#parts.takes);
  }

  async close(): Promise<void> {
    this.#closed = true;
    while (this.#writing !== undefined) await this.#writing;
  }

  async #alone(run: () => Promise<void>): Promise<void> {
    await this.#enqueue({ kind: 'alone', run });
  }

  #enqueue(work: Work): Promise<{ first: number }> {
    if (this.#closed) return Promise.reject(new LogFault('closed', `the log ${this.name} has been closed`));
    const waiting = { work, done: Promise.withResolvers<{ first: number }>() };
    this.#waiting.push(waiting);
    this.#writing ??= this.#writeAll();
    return waiting.done.promise;
  }

  async #writeAll(): Promise<void> {
    // Those that come in the same moment go into the same head.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      try {
        let { first } = await this.#write(batch);
        for (const { work, done } of batch) {
          done.resolve({ first });
          first += recordsOf(work).length;
        }
      } catch (cause) {
        for (const { done } of batch) done.reject(cause);
      }
    }
    this.#writing = undefined;
  }

  async #write(batch: readonly Waiting[]): Promise<{ first: number }> {
    const work = batch[0]?.work;
    if (work?.kind !== 'alone')
      return this.#tip.commit({ records: batch.flatMap((each) => recordsOf(each.work)), at: work?.at });
    await work.run();
    return { first: this.length };
  }

  #take(): Waiting[] {
    let records = 0;
    let count = 0;
    for (const { work } of this.#waiting) {
      // What may have one place only is written by itself.
      const single = work.kind === 'alone' || work.at !== undefined;
      if (count > 0 && (single || records + recordsOf(work).length > maxRecordsPerHead)) break;
      records += recordsOf(work).length;
      count++;
      if (work.kind === 'alone') break;
    }
    return this.#waiting.splice(0, count);
  }
}

function recordsOf(work: Work): readonly Uint8Array[] {
  return work.kind === 'append' ? work.records : [];
}
