/** How much is allowed: `amount` in each `perMs`, and at most `burst` at once. */
export interface Rate {
  readonly amount: number;
  readonly perMs: number;
  readonly burst: number;
}

export type Taken = { readonly kind: 'within' } | { readonly kind: 'over'; readonly retryAfterMs: number };

/** What deciding needs of the state of limits: try to take `cost` from the bucket `key`. A refusal takes nothing. */
export interface LimitState {
  take(key: string, cost: number, rate: Rate, now: number): Taken;
}

export interface LimitsSnapshot {
  readonly version: 1;
  /** Key and the time at which the bucket is full again, least recently used first. */
  readonly buckets: readonly (readonly [key: string, fullAt: number])[];
}

// About 150 bytes each with its key: 30 MB at the worst, and more senders than one gateway sees in an hour.
const defaultMaxBuckets = 200_000;
// Longer than any address with its rule; a key is made of what strangers send.
const maxKeyLength = 512;

/**
 * Token buckets, each kept as one number: when it will be full again (the generic cell rate algorithm). A bucket
 * that is full is the same as none, so a forgotten one only ever errs on the side of the sender. Bounded: the least
 * recently used bucket goes first.
 */
export class Limits implements LimitState {
  readonly #fullAt = new Map<string, number>();
  readonly #maxBuckets: number;
  readonly #onChange: (key: string) => void;

  /** `onChange` hears of each bucket that something was taken from. */
  constructor(maxBuckets = defaultMaxBuckets, onChange: (key: string) => void = () => undefined) {
    this.#maxBuckets = maxBuckets;
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#fullAt.size;
  }

  take(key: string, cost: number, rate: Rate, now: number): Taken {
    const bucket = key.slice(0, maxKeyLength);
    const perToken = rate.perMs / rate.amount;
    const capacityMs = rate.burst * perToken;
    const kept = this.#fullAt.get(bucket) ?? now;
    // A clock set back, or a rate made smaller, must not lock a sender out for longer than one empty bucket takes.
    const fullAt = Math.min(Math.max(kept, now), now + capacityMs);
    if (fullAt < kept) this.#keep(bucket, fullAt);
    const next = fullAt + Math.max(0, cost) * perToken;
    // Half a millisecond of one token: divisions such as 3600000/7 must not refuse the last one.
    if (next - now > capacityMs + 0.5) return { kind: 'over', retryAfterMs: Math.ceil(next - now - capacityMs) };
    if (next > now) {
      this.#keep(bucket, next);
      this.#onChange(bucket);
    }
    return { kind: 'within' };
  }

  /** When a bucket is full again; undefined for one that is. */
  fullAt(key: string): number | undefined {
    return this.#fullAt.get(key.slice(0, maxKeyLength));
  }

  /** The buckets that something was taken from, least recently used first. */
  keys(): readonly string[] {
    return [...this.#fullAt.keys()];
  }

  /** All buckets that are not full, to be kept over a restart. */
  snapshot(now: number): LimitsSnapshot {
    return { version: 1, buckets: [...this.#fullAt].filter(([, fullAt]) => fullAt > now) };
  }

  /** Takes over a snapshot; what does not look like one is passed over, because a lost bucket is only a full one. */
  restore(snapshot: LimitsSnapshot, now: number): void {
    if (!Array.isArray(snapshot.buckets)) return;
    for (const bucket of snapshot.buckets as readonly unknown[]) {
      const [key, fullAt] = Array.isArray(bucket) ? (bucket as readonly unknown[]) : [];
      if (typeof key !== 'string' || typeof fullAt !== 'number') continue;
      if (Number.isFinite(fullAt) && fullAt > now) this.#keep(key.slice(0, maxKeyLength), fullAt);
    }
  }

  #keep(key: string, fullAt: number): void {
    this.#fullAt.delete(key);
    this.#fullAt.set(key, fullAt);
    if (this.#fullAt.size <= this.#maxBuckets) return;
    const oldest = this.#fullAt.keys().next();
    if (!oldest.done) this.#fullAt.delete(oldest.value);
  }
}
