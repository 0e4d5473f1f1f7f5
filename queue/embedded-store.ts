/**
 * The embedded queue on disk (lmdb): records, bodies, index and marks, changed only in transactions that are synced before their promise resolves.
 * lmdb groups the transactions of one moment into one commit. A throw inside a transaction would not undo what was put before it: so everything is
 * read and encoded first, and then put.
 */
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type Database, open, type RootDatabase } from 'lmdb';
import { newCourse } from './course.ts';
import {
  doneBefore,
  headOf,
  type IndexDb,
  type IndexKey,
  indexKey,
  indexValue,
  laneHeads,
  stateRange,
} from './embedded-index.ts';
import { changed, encodeRecord, type JobRecord } from './job-record.ts';
import { KnownRecords } from './known-records.ts';
import { type Mark, QueueFault } from './queue.ts';
import type { Transition } from './transitions.ts';

export interface NewEntry {
  readonly record: JobRecord;
  /** Absent if the body lies in the file that the record names. */
  readonly body?: Uint8Array;
}

export interface Change {
  readonly after: JobRecord;
  /** Body files that no job needs any longer. */
  readonly unused: readonly string[];
}

export interface Claimed {
  readonly records: readonly JobRecord[];
  readonly damaged: number;
}

export type Found =
  | { kind: 'record'; record: JobRecord }
  | { kind: 'none' }
  /** There is something, and it is not what was written. */
  | { kind: 'damaged' };

/** Long enough that a busy gateway's next job takes them along, short beside the time in which a client sends again what it heard no answer to. */
const lateMs = 50;
const maxLate = 500;
/** One transaction stays short: others wait for it. */
const sweepBatch = 500;

/** The same octets, not copied. */
const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

export class EmbeddedStore {
  readonly #root: RootDatabase<Buffer, string>;
  readonly #jobs: Database<Buffer, string>;
  readonly #bodies: Database<Buffer, string>;
  /** (file name, job id): a body file may serve several jobs. */
  readonly #files: Database<Buffer, string[]>;
  readonly #marks: Database<Buffer, string>;
  readonly #markExpiry: Database<Buffer, (number | string)[]>;
  /** Lanes that another process changed, for the owner to look at. */
  readonly #touched: Database<Buffer, string>;
  /** Raw bytes of damaged records, for someone to study. */
  readonly #damaged: Database<Buffer, string>;
  readonly #facts: Database<Buffer, string>;
  readonly #pauses: Database<Buffer, string>;
  readonly index: IndexDb;
  /** Marks that need not be on disk at once: the next jobs take them along, or a timer does. */
  readonly #late = new Map<string, Mark>();
  #lateTimer: NodeJS.Timeout | undefined;
  readonly #known = new KnownRecords();
  #failure: string | undefined;

  constructor(dir: string) {
    this.#root = open({ path: join(dir, 'queue.lmdb'), encoding: 'binary', overlappingSync: false, maxDbs: 16 });
    const db = (name: string) => this.#root.openDB<Buffer, string>(name, { encoding: 'binary' });
    this.#jobs = db('jobs');
    this.#bodies = db('bodies');
    this.#marks = db('marks');
    this.#touched = db('touched');
    this.#damaged = db('damaged');
    this.#facts = db('facts');
    this.#pauses = db('pauses');
    this.#files = this.#root.openDB<Buffer, string[]>('files', { encoding: 'binary' });
    this.#markExpiry = this.#root.openDB<Buffer, (number | string)[]>('mark-expiry', { encoding: 'binary' });
    this.index = this.#root.openDB<Buffer, (number | string)[]>('index', { encoding: 'binary' });
  }

  /** Why the last transaction failed, until one succeeds. */
  get failure(): string | undefined {
    return this.#failure;
  }

  async #transaction<T>(action: () => T): Promise<T> {
    try {
      const value = await this.#root.transaction(action);
      this.#failure = undefined;
      return value;
    } catch (cause) {
      this.#failure = `the queue cannot write to its disk: ${cause instanceof Error ? cause.message : String(cause)}`;
      throw new QueueFault('queue-io', this.#failure, cause);
    }
  }

  /** Sees what other processes committed; lmdb otherwise answers from the snapshot of this moment's first read. */
  #fresh(): void {
    this.#root.resetReadTxn();
  }

  /** For each entry, whether it was new. All entries and marks in one commit. */
  async add(entries: readonly NewEntry[], marks: readonly Mark[]): Promise<boolean[]> {
    const prepared = entries.map(({ record, body }) => ({ record, body, bytes: encodeRecord(record) }));
    let late: readonly Mark[] = [];
    const result = await this.#transaction(() => {
      const added = prepared.map(({ record, body, bytes }) => {
        if (this.#jobs.doesExist(record.id)) return false;
        this.#jobs.putSync(record.id, bytes);
        this.#known.wrote(record, bytes);
        if (body !== undefined) this.#bodies.putSync(record.id, bufferOf(body));
        if (record.body?.file !== undefined) this.#files.putSync([record.body.file, record.id], indexValue);
        this.index.putSync(indexKey(record), indexValue);
        return true;
      });
      late = this.#putLate();
      for (const mark of marks) this.#putNow(mark);
      return added;
    });
    this.#written(late);
    return result;
  }

  find(id: string): Found {
    this.#fresh();
    return this.#find(id);
  }

  #find(id: string): Found {
    const bytes = this.#jobs.get(id);
    if (bytes === undefined) return { kind: 'none' };
    const record = this.#known.recordOf(id, bytes);
    return record === undefined ? { kind: 'damaged' } : { kind: 'record', record };
  }

  /** Applies the transition in a transaction; undefined if there is no such job or the transition says no. */
  async change(id: string, transition: Transition): Promise<Change | undefined> {
    return this.#transaction(() => {
      const found = this.#find(id);
      const after = found.kind === 'record' ? transition(found.record) : undefined;
      return found.kind === 'record' && after !== undefined ? this.#replace(found.record, after) : undefined;
    });
  }

  #replace(before: JobRecord, after: JobRecord): Change {
    const bytes = encodeRecord(after);
    this.#jobs.putSync(after.id, bytes);
    this.#known.wrote(after, bytes);
    this.index.removeSync(indexKey(before));
    this.index.putSync(indexKey(after), indexValue);
    return { after, unused: before.body !== undefined && after.body === undefined ? this.#forgetBody(before) : [] };
  }

  #forgetBody({ id, body }: JobRecord): string[] {
    if (body?.file === undefined) {
      this.#bodies.removeSync(id);
      return [];
    }
    this.#files.removeSync([body.file, id]);
    return this.isFileUsed(body.file) ? [] : [body.file];
  }

  isFileUsed(name: string): boolean {
    return this.#files.getKeysCount({ start: [name], end: [`${name}~`], limit: 1 }) > 0;
  }

  /**
   * Begins up to `max` jobs of the lane, the oldest first, durably and in one commit: if the process dies during an attempt, the next start
   * knows. `damaged`: how many records were set aside on the way.
   */
  async claim(lane: string, max: number, transition: Transition): Promise<Claimed> {
    return this.#transaction(() => {
      const records: JobRecord[] = [];
      let damaged = 0;
      while (records.length + damaged < max) {
        const begun = this.#claimOne(lane, transition);
        if (begun === 'none') break;
        if (begun === 'damaged') damaged++;
        else if (begun !== 'stray') records.push(begun);
      }
      return { records, damaged };
    });
  }

  #claimOne(lane: string, transition: Transition): JobRecord | 'none' | 'damaged' | 'stray' {
    const key = headOf(this.index, lane);
    if (key === undefined) return 'none';
    const found = this.#find(key[3]);
    if (found.kind !== 'record' || found.record.lane !== lane) return this.#setAside(key);
    if (indexKey(found.record).join() !== key.join()) {
      // An entry that its record does not know would be the lane's head for ever.
      this.index.removeSync(key);
      return 'stray';
    }
    const after = transition(found.record);
    if (after === undefined) return 'none';
    this.#replace(found.record, after);
    return after;
  }

  async setAside(key: IndexKey): Promise<void> {
    await this.#transaction(() => this.#setAside(key));
  }

  /** In place of a damaged record, one that says so; the raw bytes and the body are kept. */
  #setAside(key: IndexKey): 'damaged' {
    const [, lane, at, id] = key;
    const raw = this.#jobs.get(id);
    const body = this.#bodies.get(id);
    const why = 'the record of this job was damaged on disk; its raw bytes are kept';
    const record: JobRecord = {
      ...newCourse,
      id,
      lane,
      state: 'failed',
      about: {},
      createdAt: at,
      dueAt: at,
      attempts: [{ at, tookMs: 0, outcome: 'crashed', why }],
    };
    const place = body === undefined ? undefined : { bytes: body.byteLength, crc: crc32(body) };
    const bytes = encodeRecord(changed(record, { body: place }));
    if (raw !== undefined) this.#damaged.putSync(id, Buffer.from(raw));
    this.#jobs.putSync(id, bytes);
    this.index.removeSync(key);
    this.index.putSync(indexKey(record), indexValue);
    return 'damaged';
  }

  inlineBody(id: string): Uint8Array | undefined {
    return this.#bodies.get(id);
  }

  nextDueAt(lane: string): number | undefined {
    this.#fresh();
    return headOf(this.index, lane)?.[2];
  }

  laneHeads(): { lane: string; at: number }[] {
    this.#fresh();
    return [...laneHeads(this.index)];
  }

  async touch(lane: string): Promise<void> {
    await this.#transaction(() => {
      this.#touched.putSync(lane, indexValue);
    });
  }

  /** The lanes other processes touched since the last call. */
  async takeTouched(): Promise<string[]> {
    this.#fresh();
    const lanes = [...this.#touched.getKeys({ limit: sweepBatch })];
    if (lanes.length === 0) return [];
    await this.#transaction(() => {
      for (const lane of lanes) this.#touched.removeSync(lane);
    });
    return lanes;
  }

  getMark(key: string, now: number): Uint8Array | undefined {
    const late = this.#late.get(key);
    if (late !== undefined) return late.expiresAt <= now ? undefined : Uint8Array.from(late.value);
    const stored = this.#marks.get(key);
    if (stored === undefined || stored.readDoubleBE(0) <= now) return undefined;
    return Uint8Array.from(stored.subarray(8));
  }

  async setMark(mark: Mark): Promise<void> {
    await this.#transaction(() => this.#putNow(mark));
  }

  /** Set from now on, and on disk within {@link lateMs}: a commit for each would have the next message wait for its sync. */
  setMarkLater(mark: Mark): void {
    this.#late.set(mark.key, mark);
    if (this.#late.size > maxLate) this.#writeLate();
    else this.#lateTimer ??= setTimeout(() => this.#writeLate(), lateMs).unref();
  }

  #writeLate(): void {
    // What a failed commit leaves is tried again with the next; `failure` tells of it.
    if (this.#late.size > 0) this.#lateWritten().catch(() => undefined);
    this.#lateTimer = undefined;
  }

  async #lateWritten(): Promise<void> {
    clearTimeout(this.#lateTimer);
    if (this.#late.size > 0) this.#written(await this.#transaction(() => this.#putLate()));
  }

  #putLate(): readonly Mark[] {
    const late = [...this.#late.values()];
    for (const mark of late) this.#putMark(mark);
    return late;
  }

  /** Only now are they read from the database: before the commit it gives what was there before. */
  #written(late: readonly Mark[]): void {
    for (const mark of late) if (this.#late.get(mark.key) === mark) this.#late.delete(mark.key);
  }

  /** A late one with this key would be written over it by the next transaction. */
  #putNow(mark: Mark): void {
    this.#late.delete(mark.key);
    this.#putMark(mark);
  }

  #putMark({ key, value, expiresAt }: Mark): void {
    const before = this.#marks.get(key);
    const endsAt = before?.readDoubleBE(0);
    if (before !== undefined && endsAt === expiresAt && before.subarray(8).equals(value)) return;
    // A mark that is renewed often would leave an entry behind each time, for as long as it lives.
    if (endsAt !== undefined) this.#markExpiry.removeSync([endsAt, key]);
    const stored = Buffer.allocUnsafe(8 + value.byteLength);
    stored.writeDoubleBE(expiresAt, 0);
    stored.set(value, 8);
    this.#marks.putSync(key, stored);
    this.#markExpiry.putSync([expiresAt, key], indexValue);
  }

  /** Forgets some of what may be forgotten; true if there may be more. */
  async sweep(doneBeforeMs: number, doneCount: number, now: number): Promise<boolean> {
    // Counting a million keys takes a tenth of a second: only where it may matter.
    const tooMany = this.entries() > doneCount ? this.index.getKeysCount(stateRange('done')) - doneCount : 0;
    return this.#transaction(() => {
      const old = doneBefore(this.index, doneBeforeMs, sweepBatch);
      const jobs = old.length < tooMany ? doneBefore(this.index, now, Math.min(tooMany, sweepBatch)) : old;
      const marks = [...this.#markExpiry.getKeys({ end: [now], limit: sweepBatch })];
      for (const key of jobs) {
        this.index.removeSync(key);
        this.#jobs.removeSync(key[3]);
      }
      for (const key of marks) {
        const name = String(key[1]);
        this.#markExpiry.removeSync(key);
        // The mark may have been set again with a later end, which has its own entry.
        if ((this.#marks.get(name)?.readDoubleBE(0) ?? 0) <= now) this.#marks.removeSync(name);
      }
      return jobs.length === sweepBatch || marks.length === sweepBatch;
    });
  }

  async setPause(lane: string, pause: Buffer | undefined): Promise<boolean> {
    return this.#transaction(() => {
      const isPaused = this.#pauses.doesExist(lane);
      if (pause !== undefined) this.#pauses.putSync(lane, pause);
      else if (isPaused) this.#pauses.removeSync(lane);
      return isPaused;
    });
  }

  pauses(): { lane: string; pause: Buffer }[] {
    this.#fresh();
    return [...this.#pauses.getRange({})].map(({ key, value }) => ({ lane: key, pause: Buffer.from(value) }));
  }

  /** Jobs that still wait under these keys become due `byMs` earlier. */
  async bringForward(keys: readonly IndexKey[], byMs: number): Promise<void> {
    await this.#transaction(() => {
      for (const key of keys) {
        const found = this.#find(key[3]);
        if (found.kind !== 'record' || found.record.state !== 'due' || found.record.dueAt !== key[2]) continue;
        this.#replace(found.record, changed(found.record, { dueAt: key[2] - byMs }));
      }
    });
  }

  /** How many jobs there are, of all states, without counting. */
  entries(): number {
    return (this.index.getStats() as { entryCount: number }).entryCount;
  }

  async fact(key: string, decide: (current: string | undefined) => string | undefined): Promise<void> {
    await this.#transaction(() => {
      const next = decide(this.#facts.get(key)?.toString());
      if (next !== undefined) this.#facts.putSync(key, Buffer.from(next));
    });
  }

  refresh(): void {
    this.#fresh();
  }

  async close(): Promise<void> {
    try {
      await this.#lateWritten();
    } finally {
      await this.#root.close();
    }
  }
}
