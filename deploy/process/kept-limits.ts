/**
 * The token buckets of the policy, kept over restarts in a journal: a line for each change, those of some milliseconds written and synced together, beside
 * the work. A crash forgets the last of these, to the sender's favour. When the journal has grown, a new one begins with all buckets and the old one goes.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate as breath } from 'node:timers/promises';
import { Limits } from '../../policy/limits.ts';
import { syncFolder } from '../home/files.ts';

/** One sync for all that changes meanwhile. */
const gatherMs = 20;
/** After a disk that took nothing. */
const retryMs = 1_000;
/** Some 200,000 buckets are 10 MB; below this nothing is worth the trouble. */
const minJournalBytes = 4 * 1_048_576;
/** A journal this much longer than its buckets is written anew. */
const mostTimes = 3;
const linesAtOnce = 1_000;
const shape = /^limits-(\d{1,12})\.log$/;

export interface KeptLimitsOptions {
  /** A folder of its own. */
  readonly folder: string;
  readonly now: () => number;
  /** Hears of a disk that does not take it; mail goes on without. */
  readonly onFault: (fault: unknown) => void;
  readonly maxBuckets?: number;
  /** For trials: when a new journal begins. */
  readonly maxJournalBytes?: number;
}

export class KeptLimits {
  readonly limits: Limits;
  readonly #options: KeptLimitsOptions;
  readonly #dirty = new Set<string>();
  #number: number;
  #file: FileHandle | undefined;
  #bytes = 0;
  #turnAt: number;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(options: KeptLimitsOptions) {
    this.#options = options;
    this.limits = new Limits(options.maxBuckets, (key) => this.#changed(key));
    this.#turnAt = options.maxJournalBytes ?? minJournalBytes;
    this.#number = this.#begin();
  }

  /** The number of the newest journal there is. */
  #begin(): number {
    try {
      mkdirSync(this.#options.folder, { recursive: true, mode: 0o700 });
      const numbers = this.#journals();
      for (const number of numbers) this.#read(number);
      return numbers.at(-1) ?? 0;
    } catch (fault) {
      this.#options.onFault(fault);
      return 0;
    }
  }

  /** Writes what is left. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    await this.#writing;
    await this.#write();
    await this.#file?.close();
  }

  #changed(key: string): void {
    this.#dirty.add(key);
    this.#later(gatherMs);
  }

  #later(ms: number): void {
    if (this.#stopping) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#writing = this.#writing.then(() => this.#write());
    }, ms).unref();
  }

  async #write(): Promise<void> {
    const keys = [...this.#dirty];
    if (keys.length === 0) return;
    this.#dirty.clear();
    try {
      if (this.#file === undefined || this.#bytes > this.#turnAt) await this.#turn();
      else await this.#append(this.#file, keys);
    } catch (fault) {
      for (const key of keys) this.#dirty.add(key);
      this.#options.onFault(fault);
      this.#later(retryMs);
    }
  }

  /** A new journal with all buckets; only when it is on disk the older ones go. */
  async #turn(): Promise<void> {
    const { folder } = this.#options;
    const older = this.#journals();
    const next = await open(this.#place(this.#number + 1), 'a', 0o600);
    try {
      this.#bytes = 0;
      await this.#append(next, this.limits.keys());
      syncFolder(folder);
    } catch (fault) {
      // The old one is whole; another try begins this one anew.
      this.#bytes = Number.POSITIVE_INFINITY;
      await next.close();
      rmSync(this.#place(this.#number + 1), { force: true });
      throw fault;
    }
    await this.#file?.close();
    this.#file = next;
    this.#number += 1;
    this.#turnAt = Math.max(this.#options.maxJournalBytes ?? minJournalBytes, mostTimes * this.#bytes);
    for (const number of older) rmSync(this.#place(number), { force: true });
  }

  // Each line says what holds when it is written, so that the last line of a key is always its newest.
  async #append(file: FileHandle, keys: readonly string[]): Promise<void> {
    for (let at = 0; at < keys.length; at += linesAtOnce) {
      const lines = keys.slice(at, at + linesAtOnce).flatMap((key) => {
        const fullAt = this.limits.fullAt(key);
        return fullAt === undefined || fullAt <= this.#options.now() ? [] : [`${JSON.stringify([key, fullAt])}\n`];
      });
      const text = lines.join('');
      await file.appendFile(text);
      this.#bytes += Buffer.byteLength(text);
      await breath();
    }
    await file.datasync();
  }

  #journals(): readonly number[] {
    return readdirSync(this.#options.folder)
      .flatMap((name) => shape.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
  }

  #place(number: number): string {
    return path.join(this.#options.folder, `limits-${number}.log`);
  }

  /** A line that a crash cut, or that is damaged, is passed over: a forgotten bucket is a full one. */
  #read(number: number): void {
    const buckets = readFileSync(this.#place(number), 'utf8').split('\n').flatMap(readLine);
    this.limits.restore({ version: 1, buckets }, this.#options.now());
  }
}

function readLine(line: string): readonly (readonly [string, number])[] {
  try {
    return line === '' ? [] : [JSON.parse(line) as [string, number]];
  } catch {
    return [];
  }
}
