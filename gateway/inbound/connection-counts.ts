import { Limits } from '../../policy/limits.ts';
import { type ClientNetwork, inNetworks } from '../evidence/client-network.ts';
import type { InboundLimits } from './limits.ts';

const minuteMs = 60_000;
// More than a mail server with a full queue would ask; a program that does not read the answer asks thousands of times.
const toldPerMinute = 60;

/**
 * How many connections each address and each of its networks has, and how many it opens a minute. What is counted are
 * open connections, so the counts are bounded by `totalConnections`; the rates are in a bounded table.
 */
export class ConnectionCounts {
  readonly #limits: InboundLimits;
  readonly #open = new Map<string, number>();
  readonly #rates = new Limits();
  readonly #exempt: (ip: string) => boolean;
  #total = 0;

  constructor(limits: InboundLimits) {
    this.#limits = limits;
    this.#exempt = inNetworks(limits.exemptNetworks);
  }

  get total(): number {
    return this.#total;
  }

  /**
   * `admitted` means counted: call `release` once, when the connection ends. `flood`: this network was told often enough that it is too many; another
   * answer would cost us more than it costs those who do not listen.
   */
  admit(client: ClientNetwork, now: number): 'admitted' | 'too-many' | 'busy' | 'flood' {
    if (this.#total >= this.#limits.totalConnections) return this.#isTold(client, now) ? 'flood' : 'busy';
    if (!this.#exempt(client.ip) && !this.#within(client, now)) return this.#isTold(client, now) ? 'flood' : 'too-many';
    this.#total += 1;
    for (const key of keysOf(client)) this.#open.set(key, (this.#open.get(key) ?? 0) + 1);
    return 'admitted';
  }

  release(client: ClientNetwork): void {
    this.#total -= 1;
    for (const key of keysOf(client)) {
      const left = (this.#open.get(key) ?? 1) - 1;
      if (left > 0) this.#open.set(key, left);
      else this.#open.delete(key);
    }
  }

  #within(client: ClientNetwork, now: number): boolean {
    return keysOf(client).every((key, nth) => {
      const atOnce = this.#limits.connections[nth] ?? 0;
      const amount = this.#limits.connectionsPerMinute[nth] ?? 0;
      if ((this.#open.get(key) ?? 0) >= atOnce) return false;
      return this.#rates.take(key, 1, { amount, perMs: minuteMs, burst: amount }, now).kind === 'within';
    });
  }

  #isTold({ wide }: ClientNetwork, now: number): boolean {
    const rate = { amount: toldPerMinute, perMs: minuteMs, burst: toldPerMinute };
    return this.#rates.take(`told ${wide}`, 1, rate, now).kind !== 'within';
  }
}

function keysOf(client: ClientNetwork): readonly string[] {
  return [client.ip, client.subnet, client.wide];
}
