/**
 * A bounded map of answers with a time to live each, least recently used out first. Strangers choose the names we look
 * up, so the number of entries is the bound that matters.
 */
export class AnswerCache<Value> {
  readonly #entries = new Map<
    string,
    { readonly value: Value; readonly expiresAt: number; readonly staleUntil: number }
  >();
  readonly #maxEntries: number;

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The value and how long it is still good for, or undefined. */
  get(key: string, now: number): { readonly value: Value; readonly leftMs: number } | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (Math.max(entry.expiresAt, entry.staleUntil) <= now) return undefined;
    this.#entries.set(key, entry);
    if (entry.expiresAt <= now) return undefined;
    return { value: entry.value, leftMs: entry.expiresAt - now };
  }

  /** A value that has outlived its time but not the one in which it is still better than nothing. */
  getStale(key: string, now: number): Value | undefined {
    const entry = this.#entries.get(key);
    return entry !== undefined && entry.staleUntil > now ? entry.value : undefined;
  }

  /** Good for `ttlMs`, and for `staleMs` after that where nothing better is to be had. */
  set(key: string, value: Value, ttlMs: number, now: number, staleMs = 0): void {
    if (ttlMs <= 0) return;
    this.#entries.delete(key);
    const expiresAt = now + ttlMs;
    this.#entries.set(key, { value, expiresAt, staleUntil: expiresAt + staleMs });
    const oldest = this.#entries.size > this.#maxEntries ? this.#entries.keys().next().value : undefined;
    if (oldest !== undefined) this.#entries.delete(oldest);
  }
}
