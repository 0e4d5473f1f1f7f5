/** How fast, on average and in a burst. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** A gateway passing on a busy day's mail stays far below; a node that floods meets it within seconds. */
export const submissionRate: Rate = { perSecond: 1000, burst: 10_000 };

/** What a peer's bucket holds at a time. */
export interface Bucket {
  readonly tokens: number;
  readonly at: number;
}

/** The bucket after `want` more, and how many of them it gave. Pure. */
export function draw(bucket: Bucket | undefined, want: number, rate: Rate, now: number): Bucket & { given: number } {
  const before = bucket ?? { tokens: rate.burst, at: now };
  // A clock that went back gives nothing, and takes nothing away.
  const gained = (Math.max(0, now - before.at) / 1000) * rate.perSecond;
  const tokens = Math.min(rate.burst, before.tokens + gained);
  const given = Math.min(want, Math.floor(tokens));
  return { tokens: tokens - given, at: now, given };
}

// As many as the overlay's member table holds at most.
const maxPeers = 5000;

/** One bucket for each certified name: a peer's, or its owner's. The longest idle one is forgotten first, and starts full again. */
export class PeerRates {
  readonly #rate: Rate;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate, now: () => number) {
    this.#rate = rate;
    this.#now = now;
  }

  /** How many of `want` this one may have now. */
  draw(name: string, want: number): number {
    const drawn = draw(this.#buckets.get(name), want, this.#rate, this.#now());
    this.#buckets.delete(name);
    this.#buckets.set(name, { tokens: drawn.tokens, at: drawn.at });
    const oldest = this.#buckets.keys().next();
    if (this.#buckets.size > maxPeers && oldest.done === false) this.#buckets.delete(oldest.value);
    return drawn.given;
  }
}
