import type { Address } from '../../policy/address.ts';
import type { Clock } from '../overlay/overlay.ts';
import { type BlockSink, getContent, putContent } from '../store/content.ts';
import { LogFault } from './fault.ts';
import type { LogKeys } from './head-seal.ts';
import { maxRecordBytes } from './log-state.ts';
import { type Numbered, readRecords } from './reading.ts';
import { type Change, type LogTip, leaseMs } from './tip.ts';

// DESIGN §7.
const recordsPerSnapshot = 500;
// One head takes what waits, up to this: a bound on memory and on how long the next caller waits.
const maxRecordsPerHead = 5_000;

interface Waiting {
  readonly records: readonly Uint8Array[];
  readonly snapshot?: Change['snapshot'];
  readonly at?: number | undefined;
  readonly done: PromiseWithResolvers<{ first: number }>;
}

/** The open log of its one writer: one commit at a time, with all that waits when it starts. */
export class OwnLog {
  readonly name: string;
  readonly #tip: LogTip;
  readonly #keys: LogKeys;
  readonly #parts: { readonly store: BlockSink; readonly owner: Address; readonly now: Clock };
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(
    tip: LogTip,
    parts: {
      readonly name: string;
      readonly store: BlockSink;
      readonly owner: Address;
      readonly now: Clock;
    },
    keys: LogKeys,
  ) {
    this.name = parts.name;
    this.#tip = tip;
    this.#parts = parts;
    this.#keys = keys;
  }

  get version(): number {
    return this.#tip.version;
  }

  get length(): number {
    return this.#tip.state.length;
  }

  async append(records: readonly Uint8Array[], at?: number): Promise<{ first: number }> {
    if (records.some((record) => record.length > maxRecordBytes))
      throw new LogFault('too-large', 'a record is at most 16 KiB');
    if (records.length === 0) return { first: this.length };
    return this.#enqueue({ records, at, done: Promise.withResolvers() });
  }

  async saveSnapshot(seq: number, state: Uint8Array): Promise<void> {
    if (!Number.isSafeInteger(seq) || seq < 0 || seq > this.length)
      throw new RangeError(`a snapshot is of the records below ${this.length}`);
    const lease = { identity: this.#parts.owner, until: this.#parts.now() + leaseMs };
    let snapshot: Change['snapshot'];
    try {
      snapshot = { seq, ref: await putContent(this.#parts.store, state, this.#keys.secrecy, lease) };
    } catch (cause) {
      throw new LogFault('unavailable', 'the snapshot did not reach the write quorum', cause);
    }
    await this.#enqueue({ records: [], snapshot, done: Promise.withResolvers() });
  }

  async snapshot(): Promise<{ seq: number; state: Uint8Array } | undefined> {
    const { snapshot } = this.#tip.state;
    if (snapshot === undefined) return undefined;
    return { seq: snapshot.seq, state: await getContent(this.#tip.source, snapshot.ref) };
  }

  snapshotDue(): boolean {
    const { length, snapshot } = this.#tip.state;
    return length - (snapshot?.seq ?? 0) > recordsPerSnapshot;
  }

  read(from: number): AsyncIterable<Numbered> {
    return readRecords(this.#tip.source, this.#tip.state, from);
  }

  async close(): Promise<void> {
    this.#closed = true;
    while (this.#writing !== undefined) await this.#writing;
  }

  #enqueue(waiting: Waiting): Promise<{ first: number }> {
    if (this.#closed) return Promise.reject(new LogFault('closed', `the log ${this.name} has been closed`));
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
        for (const one of batch) {
          one.done.resolve({ first });
          first += one.records.length;
        }
      } catch (cause) {
        for (const one of batch) one.done.reject(cause);
      }
    }
    this.#writing = undefined;
  }

  async #write(batch: readonly Waiting[]): Promise<{ first: number }> {
    const [one] = batch;
    const records = batch.flatMap((each) => each.records);
    const snapshot = batch.findLast((each) => each.snapshot !== undefined)?.snapshot;
    return this.#tip.commit({ records, snapshot, at: one?.at });
  }

  #take(): Waiting[] {
    let records = 0;
    let count = 0;
    for (const one of this.#waiting) {
      // What may have one number only is written by itself.
      if (count > 0 && one.at !== undefined) break;
      if (count > 0 && records + one.records.length > maxRecordsPerHead) break;
      records += one.records.length;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}
