// Why a message was taken twice, one by one: what the mail server had said before the kill against what the ledger held after it.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deliveryKey } from '../../gateway/relay/ledger.ts';

interface Taking {
  readonly at: number;
  /** How many kills had been before it. */
  readonly life: number;
}

export class Doubles {
  readonly #ledgerDir: string;
  readonly #takings = new Map<number, Taking[]>();
  /** The life in which a line of the ledger was written. */
  readonly #written = new Map<string, number>();
  readonly #kills: number[] = [];
  #life = 0;

  constructor(ledgerDir: string) {
    this.#ledgerDir = ledgerDir;
  }

  /** Its server says 250 in this tick. Whether that is the first time. */
  took(n: number): boolean {
    const taking = { at: performance.now(), life: this.#life };
    const before = this.#takings.get(n);
    if (before === undefined) this.#takings.set(n, [taking]);
    else before.push(taking);
    return before === undefined;
  }

  takenOnes(): number[] {
    return [...this.#takings.keys()];
  }

  /** The process is dead, and the next one has not begun. */
  async killed(): Promise<void> {
    this.#kills.push(performance.now());
    for (const name of await readdir(this.#ledgerDir)) {
      const lines = (await readFile(join(this.#ledgerDir, name), 'latin1')).split('\n');
      for (const line of lines.slice(0, -1)) {
        const key = line.slice(0, line.indexOf(' '));
        if (!this.#written.has(key)) this.#written.set(key, this.#life);
      }
    }
    this.#life += 1;
  }

  summary(): string {
    const unread: number[] = [];
    let known = 0;
    let inOneLife = 0;
    for (const [n, takings] of this.#takings) {
      const writtenIn = this.#written.get(keyOf(n)) ?? Number.POSITIVE_INFINITY;
      for (const [i, { life }] of takings.entries()) {
        const before = takings[i - 1];
        if (before === undefined) continue;
        if (writtenIn < life) known += 1;
        else if (before.life === life) inOneLife += 1;
        else unread.push((this.#kills[before.life] ?? 0) - before.at);
      }
    }
    unread.sort((a, b) => a - b);
    const ms = (share: number): string => (unread[Math.floor((unread.length - 1) * share)] ?? 0).toFixed(0);
    return `taken twice: ${unread.length} whose 250 was said before the kill and not written (said p50 ${ms(0.5)} ms, at most ${ms(1)} ms before it); ${known} although written; ${inOneLife} without a kill in between`;
  }
}

/** As relay-child.ts names its jobs. */
function keyOf(n: number): string {
  return deliveryKey(`job ${n}`, `user${n}@d${n % 500}.example`);
}
