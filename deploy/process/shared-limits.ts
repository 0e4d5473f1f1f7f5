/**
 * Limits that the gateways of one ring share in Redis. Each decides by its own buckets and by what Redis last said, so that no message waits for Redis; what
 * it takes it reports at once, and an atomic script adds it up. What two gateways take in the moments between is a debt that both then wait for: together they
 * exceed a limit by no more than one burst for each further gateway, and never its rate in the long run.
 *
 * Redis away: each gateway limits by itself, and says so in the log; with n gateways up to n times the rate can pass meanwhile.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { LimitState, Limits, Rate, Taken } from '../../policy/limits.ts';

/**
 * KEYS[1]: the bucket. ARGV: what is taken, and the most that may be owed, both in ms of refilling. Answers in how many ms the bucket is full. Redis' clock
 * alone counts, so that the gateways' clocks need not agree.
 */
const takeScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full < now then full = now end
full = math.min(full + tonumber(ARGV[1]), now + tonumber(ARGV[2]))
local left = math.ceil(full - now)
if left > 0 then redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', left + 1000) end
return left`;

/** Answers that are waited for at once; what is beyond is not reported. Some MB. */
const maxUnderWay = 5_000;
/** Redis answers within a millisecond; what takes this long is away. */
const commandTimeoutMs = 2_000;
/** Buckets that Redis spoke of, and that are remembered here: as many as a gateway has itself. */
const maxKnown = 200_000;
/** A bucket that is less than half used is nobody's concern but this gateway's: senders of one message never come to Redis. */
const reportedFrom = 0.5;
/** Gateways that hammer on one bucket at once owe at most so many bursts. */
const mostBurstsOwed = 10;

export interface SharedLimitsOptions {
  readonly url: string;
  /** All gateways of one ring use one name. */
  readonly name: string;
  readonly own: Limits;
  readonly now: () => number;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

export class SharedLimits implements LimitState {
  readonly #options: SharedLimitsOptions;
  readonly #redis: Redis;
  /** By key: when it is full again by what Redis last said; in this machine's time. */
  readonly #sharedFullAt = new Map<string, number>();
  #underWay = 0;
  #away = false;

  constructor(options: SharedLimitsOptions) {
    this.#options = options;
    this.#redis = new Redis(options.url, {
      commandTimeout: commandTimeoutMs,
      connectTimeout: commandTimeoutMs,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      enableAutoPipelining: true,
    });
    this.#redis.on('error', (error: Error) => this.#lost(error));
    this.#redis.defineCommand('epostTake', { numberOfKeys: 1, lua: takeScript });
  }

  take(key: string, cost: number, rate: Rate, now: number): Taken {
    const { own } = this.#options;
    const perToken = rate.perMs / rate.amount;
    const capacityMs = rate.burst * perToken;
    const costMs = Math.max(0, cost) * perToken;
    const owed = (this.#sharedFullAt.get(key) ?? 0) + costMs - now - capacityMs;
    // As in Limits: half a millisecond of one token must not refuse it.
    if (owed > 0.5 && costMs > 0) return { kind: 'over', retryAfterMs: Math.ceil(owed) };
    const taken = own.take(key, cost, rate, now);
    if (taken.kind === 'within' && costMs > 0) this.#report(key, costMs, capacityMs, now);
    return taken;
  }

  /** Reports that Redis has not answered yet. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Resolves when Redis can be reported to, or after `limitMs`: until then this gateway limits by itself. */
  async ready(limitMs: number): Promise<void> {
    for (const giveUp = this.#options.now() + limitMs; this.#redis.status !== 'ready'; await sleep(10))
      if (this.#options.now() > giveUp) return;
  }

  async stop(): Promise<void> {
    this.#redis.disconnect();
  }

  #report(key: string, costMs: number, capacityMs: number, now: number): void {
    const usedMs = (this.#options.own.fullAt(key) ?? now) - now;
    const known = (this.#sharedFullAt.get(key) ?? 0) > now;
    if (!known && usedMs < reportedFrom * capacityMs) return;
    if (this.#underWay >= maxUnderWay || this.#redis.status !== 'ready') return;
    this.#underWay += 1;
    const arguments_ = [this.#nameOf(key), known ? costMs : usedMs, mostBurstsOwed * capacityMs] as const;
    // Known from now on, so that what is taken before the answer comes is reported by what it takes.
    this.#learn(key, known ? (this.#sharedFullAt.get(key) ?? now) + costMs : now + usedMs);
    take(this.#redis, ...arguments_)
      .then((leftMs) => {
        this.#back();
        this.#learn(key, this.#options.now() + leftMs);
      })
      .catch((fault: unknown) => this.#lost(fault))
      .finally(() => (this.#underWay -= 1));
  }

  #learn(key: string, fullAt: number): void {
    this.#sharedFullAt.delete(key);
    this.#sharedFullAt.set(key, fullAt);
    const oldest = this.#sharedFullAt.keys().next();
    if (this.#sharedFullAt.size > maxKnown && !oldest.done) this.#sharedFullAt.delete(oldest.value);
  }

  /** Keys are made of what strangers send: of any length, and not to be read in Redis. */
  #nameOf(key: string): string {
    return `${this.#options.name}:limit:${createHash('sha256').update(key).digest('base64url').slice(0, 24)}`;
  }

  #lost(fault: unknown): void {
    if (this.#away) return;
    this.#away = true;
    const error = fault instanceof Error ? fault.message : String(fault);
    this.#options.log.warn({ error }, 'Redis does not answer: this gateway limits senders by itself until it does');
  }

  #back(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#options.log.info({}, 'Redis answers again: the limits of senders are shared');
  }
}

/** ioredis makes the method that defineCommand names. */
async function take(redis: Redis, key: string, costMs: number, mostMs: number): Promise<number> {
  const script = redis as unknown as { epostTake(key: string, cost: number, most: number): Promise<number> };
  return await script.epostTake(key, costMs, mostMs);
}
