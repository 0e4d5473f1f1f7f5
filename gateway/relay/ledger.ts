/**
 * What remote hosts have taken, on our own disk, written in the same tick in which their final 250 was read. The queue's own "done" is durable
 * only milliseconds later; a `kill -9` in between would send the message again. The ledger is asked before each attempt.
 *
 * What it cannot do, since SMTP cannot (RFC 1047): a host that has taken the message may die, or the connection may break, before its 250 has reached us.
 * Then nobody can know, and the message is sent again: twice is better than never. The same holds for the microseconds between the kernel's receiving
 * the 250 and our write, and for a power cut, since lines are written (which survives the death of the process) and not synced.
 *
 * Where several gateways share a queue, the one that takes over a dead one's jobs cannot read its disk: so each entry is also a mark of the queue, written
 * at once, and awaited before the attempt ends. A gateway that dies within these milliseconds has its message sent again.
 */
import { hash } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

const dayMs = 24 * 3_600_000;
/** A job lives no longer than its time to give up (5 days) and some hold. */
const keptDays = 7;
const shape = /^delivered-(\d+)\.log$/;

/** The queue's marks, where other gateways see them. */
export interface SharedMarks {
  getMark(key: string): Promise<Uint8Array | undefined>;
  setMark(key: string, value: Uint8Array, expiresAt: number): Promise<void>;
}

export class Ledger {
  readonly #shared: SharedMarks | undefined;
  /** Marks being written, by job. */
  readonly #sharing = new Map<string, Promise<void>>();
  readonly #dir: string;
  readonly #now: () => number;
  /** Per day, so that a whole day can be forgotten: some 60 bytes for each delivered recipient of a week. */
  readonly #days = new Map<number, Set<string>>();
  #today = -1;
  #fd: number | undefined;

  /** Reads what was written in the last week. A last line that was cut by a kill is ignored. */
  constructor(dir: string, now: () => number, shared?: SharedMarks) {
    this.#shared = shared;
    this.#dir = dir;
    this.#now = now;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(dir)) {
      const day = Number(shape.exec(name)?.[1] ?? Number.NaN);
      if (Number.isInteger(day)) this.#days.set(day, this.#load(name));
    }
    this.#turn();
  }

  #load(name: string): Set<string> {
    const lines = readFileSync(join(this.#dir, name), 'latin1').split('\n');
    return new Set(lines.slice(0, -1).map((line) => line.slice(0, line.indexOf(' '))));
  }

  /** One file a day; files older than a week are deleted. */
  #turn(): void {
    const day = Math.floor(this.#now() / dayMs);
    if (day === this.#today) return;
    this.close();
    this.#today = day;
    this.#fd = openSync(join(this.#dir, `delivered-${day}.log`), 'a+', 0o600);
    endCutLine(this.#fd);
    if (!this.#days.has(day)) this.#days.set(day, new Set());
    for (const old of [...this.#days.keys()].filter((one) => one < day - keptDays)) {
      this.#days.delete(old);
      rmSync(join(this.#dir, `delivered-${old}.log`), { force: true });
    }
  }

  /** Synchronous: when this returns, the death of the process cannot undo it. Throws when the disk does not take it; it is remembered in memory even so. */
  write(jobId: string, recipients: readonly string[]): void {
    this.#turn();
    const at = this.#now();
    const keys = recipients.map((recipient) => deliveryKey(jobId, recipient));
    for (const key of keys) this.#days.get(this.#today)?.add(key);
    if (this.#shared !== undefined) this.#share(jobId, keys, this.#shared);
    if (this.#fd !== undefined) writeSync(this.#fd, keys.map((key) => `${key} ${at}\n`).join(''));
  }

  #share(jobId: string, keys: readonly string[], shared: SharedMarks): void {
    const expiresAt = this.#now() + keptDays * dayMs;
    const writing = Promise.all(keys.map((key) => shared.setMark(markOf(key), new Uint8Array([1]), expiresAt)));
    this.#sharing.set(
      jobId,
      writing.then(() => undefined),
    );
    // Whoever waits for it is told; nobody may.
    writing.catch(() => undefined);
  }

  /** Resolves when the other gateways can know. Rejects when they could not be told. */
  async shared(jobId: string): Promise<void> {
    const writing = this.#sharing.get(jobId);
    this.#sharing.delete(jobId);
    await writing;
  }

  /** Rejects where another gateway may know and cannot be asked. */
  async has(jobId: string, recipient: string): Promise<boolean> {
    const key = deliveryKey(jobId, recipient);
    if ([...this.#days.values()].some((day) => day.has(key))) return true;
    return (await this.#shared?.getMark(markOf(key))) !== undefined;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#today = -1;
  }
}

/** What is written next is no part of a line that was cut. */
function endCutLine(fd: number): void {
  const { size } = fstatSync(fd);
  const last = Buffer.alloc(1);
  if (size > 0) readSync(fd, last, 0, 1, size - 1);
  if (size > 0 && last.toString() !== '\n') writeSync(fd, '\n');
}

function markOf(key: string): string {
  return `delivered ${key}`;
}

/** How a line of the ledger names one recipient of a job: 120 bits, and no address in the file. */
export function deliveryKey(jobId: string, recipient: string): string {
  return hash('sha256', `${jobId}\0${recipient}`, 'base64url').slice(0, 20);
}
