/**
 * What remote hosts have taken, on our own disk, written in the same tick in which their final 250 was read. The queue's own "done" is durable
 * only milliseconds later; a `kill -9` in between would send the message again. The ledger is asked before each attempt.
 *
 * What it cannot do, since SMTP cannot (RFC 1047): a host that has taken the message may die, or the connection may break, before its 250 has reached us.
 * Then nobody can know, and the message is sent again: twice is better than never. The same holds for the microseconds between the kernel's receiving
 * the 250 and our write, and for a power cut, since lines are written (which survives the death of the process) and not synced.
 * It is local: a second gateway that takes over a dead one's jobs cannot ask it.
 */
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const dayMs = 24 * 3_600_000;
/** A job lives no longer than its time to give up (5 days) and some hold. */
const keptDays = 7;
const shape = /^delivered-(\d+)\.log$/;

export class Ledger {
  readonly #dir: string;
  readonly #now: () => number;
  /** Per day, so that a whole day can be forgotten: some 60 bytes for each delivered recipient of a week. */
  readonly #days = new Map<number, Set<string>>();
  #today = -1;
  #fd: number | undefined;

  /** Reads what was written in the last week. A last line that was cut by a kill is ignored. */
  constructor(dir: string, now: () => number) {
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
    this.#fd = openSync(join(this.#dir, `delivered-${day}.log`), 'a', 0o600);
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
    const keys = recipients.map((recipient) => keyOf(jobId, recipient));
    for (const key of keys) this.#days.get(this.#today)?.add(key);
    if (this.#fd !== undefined) writeSync(this.#fd, keys.map((key) => `${key} ${at}\n`).join(''));
  }

  has(jobId: string, recipient: string): boolean {
    const key = keyOf(jobId, recipient);
    return [...this.#days.values()].some((day) => day.has(key));
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#today = -1;
  }
}

/** 120 bits, and no address in the file. */
function keyOf(jobId: string, recipient: string): string {
  return createHash('sha256').update(`${jobId}\0${recipient}`).digest('base64url').slice(0, 20);
}
