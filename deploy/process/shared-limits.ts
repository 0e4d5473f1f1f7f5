/**
 * Limits that the gateways of one ring share in Redis. Each decides by its own buckets and by what Redis last said, so that no message waits for Redis; what
 * it takes it tells fifty times a second, and an atomic script adds it up. What n gateways take in the moments between is a debt that all then wait for: together they
 * exceed a limit by at most n - 1 bursts, and never its rate in the long run.
 * Everything is told, however little: who keeps to the limit at each of n gateways has n times of it, and no single bucket shows it.
 *
 * Redis away: each gateway limits by itself, and says so in the log; with n gateways up to n times the rate can pass meanwhile. What was taken is told when
 * Redis is back.
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

/** A Redis that keeps a queue writes each command to its disk before it answers (appendfsync always): fifty times a second, and not for each message. */
const tellEveryMs = 20;
/** Redis answers within a millisecond; what takes this long is away. */
const commandTimeoutMs = 2_000;
/** Buckets that Redis spoke of, and that are remembered here: as many as a gateway has itself. */
const maxKnown = 200_000;
/** Buckets to be told of when Redis is back; as many as there are. */
const maxUntold = 200_000;
/** What could not be told for longer than this has grown back in part. */
const freshMs = 1_000;
/** Told in one turn: some milliseconds of work, so that messages are not kept waiting when there is much to tell. */
const toldAtOnce = 500;
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

interface Untold {
  /** In ms of refilling. */
  readonly costMs: number;
  readonly capacityMs: number;
  /** When the first of it was taken. */
  readonly since: number;
}

export class SharedLimits implements LimitState {
  readonly #options: SharedLimitsOptions;
  readonly #redis: Redis;
  /** By key: when it is full again by what Redis last said; in this machine's time. */
  readonly #sharedFullAt = new Map<string, number>();
  /** By key: what was taken and is to be told. */
  readonly #untold = new Map<string, Untold>();
  #underWay = 0;
  #telling: NodeJS.Timeout | undefined;
  #stopped = false;
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
    this.#redis.on('ready', () => this.#tellSoon());
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
    if (taken.kind === 'over' || costMs === 0) return taken;
    // Counted at once: what Redis said before does not allow it a second time.
    this.#learn(key, Math.max(this.#sharedFullAt.get(key) ?? now, now) + costMs);
    this.#keepUntold(key, { costMs, capacityMs, since: now });
    return taken;
  }

  /** Buckets of which Redis does not know all. */
  get untold(): number {
    return this.#untold.size + this.#underWay;
  }

  /** Resolves when Redis can be reported to, or after `limitMs`: until then this gateway limits by itself. */
  async ready(limitMs: number): Promise<void> {
    for (const giveUp = this.#options.now() + limitMs; this.#redis.status !== 'ready'; await sleep(10))
      if (this.#options.now() > giveUp) return;
  }

  /** Tells what is to be told, where Redis answers. */
  async stop(): Promise<void> {
    clearTimeout(this.#telling);
    await this.#tellAll();
    this.#stopped = true;
    this.#redis.disconnect();
  }

  #keepUntold(key: string, { costMs, capacityMs, since }: Untold): void {
    const before = this.#untold.get(key);
    this.#untold.delete(key);
    this.#untold.set(key, {
      costMs: (before?.costMs ?? 0) + costMs,
      capacityMs,
      since: Math.min(before?.since ?? since, since),
    });
    const oldest = this.#untold.keys().next();
    if (this.#untold.size > maxUntold && !oldest.done) this.#untold.delete(oldest.value);
    this.#tellSoon();
  }

  #tellSoon(): void {
    if (this.#stopped || this.#telling !== undefined || this.#untold.size === 0 || this.#redis.status !== 'ready')
      return;
    this.#telling = setTimeout(() => {
      this.#telling = undefined;
      this.#tellAll().catch((fault: unknown) => this.#lost(fault));
    }, tellEveryMs);
  }

  /** Never throws: what Redis does not answer stays to be told. */
  async #tellAll(): Promise<void> {
    const waiting = [...this.#untold.keys()];
    for (let from = 0; from < waiting.length && this.#redis.status === 'ready'; from += toldAtOnce) {
      const now = this.#options.now();
      await Promise.all(waiting.slice(from, from + toldAtOnce).map((key) => this.#tell(key, now)));
    }
  }

  async #tell(key: string, now: number): Promise<void> {
    const untold = this.#untold.get(key);
    if (untold === undefined) return;
    this.#untold.delete(key);
    const { capacityMs, since } = untold;
    const ownMs = (this.#options.own.fullAt(key) ?? now) - now;
    // Not the same for what is fresh: at Redis it grows back from now on, and with what the other gateways took.
    const costMs = now - since > freshMs ? Math.min(untold.costMs, ownMs) : untold.costMs;
    if (costMs <= 0) return;
    this.#underWay += 1;
    try {
      const leftMs = await take(this.#redis, this.#nameOf(key), costMs, mostBurstsOwed * capacityMs);
      this.#back();
      // And what was taken since it was asked.
      this.#learn(key, this.#options.now() + leftMs + (this.#untold.get(key)?.costMs ?? 0));
    } catch (fault) {
      this.#lost(fault);
      this.#keepUntold(key, { costMs, capacityMs, since });
    } finally {
      this.#underWay -= 1;
    }
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
