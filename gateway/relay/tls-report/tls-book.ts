/** TLS results of the days, kept in a folder: one JSON file a UTC day, for `epost tls` and the reports. */
import { mkdirSync, readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type DayCounts, DayTally, dayOf, dayShape } from './day-tally.ts';
import type { SessionResult } from './session-result.ts';

export interface TlsBookOptions {
  readonly folder: string;
  readonly now: () => number;
  /** Told when the folder cannot be written; mail goes on. */
  readonly onFault: (fault: unknown) => void;
}

// What is counted but not written is lost in a crash: statistics, not mail.
const writeEveryMs = 60_000;
// A month to look back, and to send again what could not be sent.
const keepDays = 30;
const fileShape = /^(\d{4}-\d{2}-\d{2})\.json$/;

export class TlsBook {
  readonly #options: TlsBookOptions;
  readonly #timer: NodeJS.Timeout;
  #today: DayTally;
  #changed = false;

  constructor(options: TlsBookOptions) {
    this.#options = options;
    const day = dayOf(options.now());
    this.#today = new DayTally(day, readDay(options.folder, day));
    this.#timer = setInterval(() => this.#write(), writeEveryMs);
    this.#timer.unref();
  }

  add(result: SessionResult): void {
    const day = dayOf(this.#options.now());
    if (day !== this.#today.day) {
      this.#write();
      this.#today = new DayTally(day, readDay(this.#options.folder, day));
    }
    this.#today.add(result);
    this.#changed = true;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#write();
  }

  #write(): void {
    if (!this.#changed) return;
    const { folder, now, onFault } = this.#options;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const file = path.join(folder, `${this.#today.day}.json`);
      writeFileSync(`${file}.tmp`, JSON.stringify(this.#today.counts()), { mode: 0o600 });
      renameSync(`${file}.tmp`, file);
      this.#changed = false;
      const oldest = dayOf(now() - keepDays * 86_400_000);
      for (const day of daysIn(folder)) if (day < oldest) unlinkSync(path.join(folder, `${day}.json`));
    } catch (fault) {
      onFault(fault);
    }
  }
}

/** The days that are kept, oldest first. */
export function daysIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .flatMap((name) => fileShape.exec(name)?.[1] ?? [])
      .sort();
  } catch {
    return [];
  }
}

/** Undefined where nothing is kept of that day, or what is kept is damaged: a day of statistics is not worth a start that fails. */
export function readDay(folder: string, day: string): DayCounts | undefined {
  try {
    const { success, data } = dayShape.safeParse(JSON.parse(readFileSync(path.join(folder, `${day}.json`), 'utf8')));
    return success && data.day === day ? data : undefined;
  } catch {
    return undefined;
  }
}
