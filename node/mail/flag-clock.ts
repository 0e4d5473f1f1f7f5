import { changedFlags, type FlagMode } from './flags.ts';

interface Flagged {
  readonly origin: number;
  readonly serial: number;
  readonly flags: readonly string[];
}

// Histories that part and join again within this time keep the order of their changes; of older ones the log's order counts.
const rememberMs = 30 * 86_400_000;
// About 2 MB; a year of a busy reader would not fit, a month's partition does.
const maxRemembered = 20_000;
// A change that says what all flags are.
const everyFlag = '*';

/**
 * Who changed which flag of which message last (DESIGN §7: flags by last writer). In one history the order of the log is that of the times, because a
 * writer takes a time above all that he knows of; where two histories are joined, the later change counts and not the one that lies behind.
 * A function of the records alone: no clock of any node is asked.
 */
export class FlagClock {
  /** The highest time of any change. */
  latest = 0;
  /** origin/serial/flag → when; the longest untouched first. */
  readonly times = new Map<string, number>();

  /** The flags of the message after a change. */
  changed(message: Flagged, mode: FlagMode, flags: readonly string[], at: number): readonly string[] {
    const { flags: current } = message;
    const meant = mode === 'set' ? [...new Set([...current, ...flags])] : flags;
    const open = meant.filter((flag) => this.#time(message, flag) <= at);
    if (mode === 'set') this.#note(message, everyFlag, at);
    for (const flag of open) this.#note(message, flag, at);
    const on = open.filter((flag) => mode === 'add' || (mode === 'set' && flags.includes(flag)));
    const off = open.filter((flag) => !on.includes(flag));
    return changedFlags(changedFlags(current, 'remove', off), 'add', on);
  }

  /** To be called after each record, with its time. */
  passed(at: number): void {
    this.latest = Math.max(this.latest, at);
    for (const [oldest, time] of this.times) {
      if (this.times.size <= maxRemembered && time >= this.latest - rememberMs) break;
      this.times.delete(oldest);
    }
  }

  #time({ origin, serial }: Flagged, flag: string): number {
    const own = this.times.get(`${origin}/${serial}/${flag}`) ?? 0;
    return Math.max(own, this.times.get(`${origin}/${serial}/${everyFlag}`) ?? 0);
  }

  #note(message: Flagged, flag: string, at: number): void {
    const key = `${message.origin}/${message.serial}/${flag}`;
    const known = this.times.get(key) ?? 0;
    if (known > at) return;
    this.times.delete(key);
    this.times.set(key, at);
  }
}
