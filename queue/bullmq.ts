/**
 * The queue on Redis through BullMQ, for several gateways: what one adds any may work, and a dead one's jobs are taken over. Redis must be set
 * `appendonly yes`, `appendfsync always`, `maxmemory-policy noeviction`; health() says so when it is not, or when that cannot be found out.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue as BullQueue, Worker as BullWorker } from 'bullmq';
import { Redis } from 'ioredis';
import { BullAttempts } from './bullmq-attempt.ts';
import { type BullData, bullId, jobFrom } from './bullmq-job.ts';
import { bullLanes, listBullJobs, sleepingJobs, unfinishedJobs } from './bullmq-list.ts';
import { mendDamaged } from './bullmq-mend.ts';
import { BullParking, bullName } from './bullmq-parking.ts';
import { BullSteering } from './bullmq-steer.ts';
import { defaultSetbackDelays, type SetbackDelays } from './course.ts';
import { checkLane, checkMark, checkNewJob, shortWhy } from './job-limits.ts';
import { type Gate, LaneGate } from './lane-gate.ts';
import { checkPauses, decodePause, encodePause, PauseBook } from './pauses.ts';
import type {
  Job,
  JobFilter,
  JobState,
  Keeping,
  LaneFacts,
  LaneRule,
  Mark,
  NewJob,
  Pause,
  Queue,
  QueueHealth,
  QueueLog,
  Worker,
  WorkerHandle,
} from './queue.ts';
import { defaultKeeping, QueueFault } from './queue.ts';
import { redisHealth } from './redis-health.ts';
import { overdue, tooOld } from './upkeep.ts';

export interface BullOptions {
  /** `redis://[user:password@]host[:port][/db]` or `rediss://`. */
  readonly url: string;
  /** All gateways of one ring use one name. */
  readonly name: string;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: QueueLog;
  readonly setbackDelays?: SetbackDelays;
  /** How long a gateway may be silent before its jobs are taken over. */
  readonly takeOverMs?: number;
  readonly keeping?: Partial<Keeping>;
}

/** Redis keeps everything in memory, and BullMQ keeps data as JSON: larger bodies belong into the ring, with a reference here. */
const maxBodyBytes = 256 * 1024;
/** Longer than a pause of garbage collection or a short stop of the machine. */
const defaultTakeOverMs = 30_000;
/** A caller waits for Redis no longer than an SMTP client waits for us. */
const commandTimeoutMs = 10_000;
const closeGraceMs = 10_000;

/** Between answers of a Redis that is there: much longer than it takes. BullMQ has no bound of its own, and has been seen to wait for ever. */
const closeWorkerMs = 3_000;
const lookAtPausesMs = 500;
const agesEveryMs = 3_600_000;

/** Throws QueueFault `queue-io` when Redis does not answer. */
export async function openBullQueue(options: BullOptions): Promise<Queue> {
  const redis = new Redis(options.url, {
    lazyConnect: true,
    maxRetriesPerRequest: 2,
    commandTimeout: commandTimeoutMs,
    connectTimeout: commandTimeoutMs,
  });
  redis.on('error', (error: Error) => options.log.warn({ error: error.message }, 'the connection to Redis failed'));
  try {
    await redis.connect();
    await redis.ping();
  } catch (cause) {
    redis.disconnect();
    throw new QueueFault('queue-io', 'Redis does not answer; is it running, and is its address right?', cause);
  }
  return new BullBackedQueue(redis, options);
}

class BullBackedQueue implements Queue {
  readonly maxBodyBytes = maxBodyBytes;
  readonly addsMarksAtomically = false;
  readonly isShared = true;
  readonly #redis: Redis;
  readonly #options: BullOptions;
  readonly #bull: BullQueue<BullData>;
  readonly #gate: LaneGate;
  readonly #attempts: BullAttempts;
  readonly #steering: BullSteering;
  readonly #parking: BullParking;
  readonly #gates = new Set<Gate>();
  readonly #loose = new Set<Promise<void>>();
  readonly #keeping: Keeping;
  readonly #paused = new PauseBook();
  readonly #pausedKey: string;
  #timers: NodeJS.Timeout[] = [];
  #looking: Promise<void> = Promise.resolve();
  #worker: BullWorker<BullData> | undefined;
  #workerRedis: Redis | undefined;
  #closed = false;

  constructor(redis: Redis, options: BullOptions) {
    this.#redis = redis;
    this.#options = options;
    this.#keeping = { ...defaultKeeping, ...options.keeping };
    this.#gate = new LaneGate(options.random, (lane) => this.#paused.isPaused(lane));
    // Nobody reads BullMQ's event stream.
    this.#bull = new BullQueue(options.name, {
      connection: redis,
      prefix: 'epost',
      streams: { events: { maxLen: 10 } },
    });
    this.#bull.on('error', (error) => options.log.warn({ error: error.message }, 'the connection to Redis failed'));
    const keyOf = (id: string) => this.#bull.toKey(id);
    const sets = { heldKey: keyOf('epost-held'), droppedKey: keyOf('epost-dropped') };
    this.#pausedKey = keyOf('epost-paused');
    const { now, log } = options;
    this.#parking = new BullParking(redis, keyOf);
    this.#steering = new BullSteering({ redis, bull: this.#bull, now, ...sets });
    this.#attempts = new BullAttempts({
      ...sets,
      redis,
      keyOf,
      now,
      log,
      gate: this.#gate,
      delays: options.setbackDelays ?? defaultSetbackDelays,
      parking: this.#parking,
    });
  }

  #checkOpen(): void {
    if (this.#closed) throw new QueueFault('queue-closed', 'the queue is closed');
  }

  async #ask<T>(question: () => Promise<T>): Promise<T> {
    this.#checkOpen();
    try {
      return await question();
    } catch (cause) {
      if (cause instanceof QueueFault) throw cause;
      if (cause instanceof SyntaxError && (await this.#mend())) return this.#ask(question);
      throw new QueueFault('queue-io', 'Redis did not do what it was asked', cause);
    }
  }

  /** Whether there was anything to mend. */
  async #mend(): Promise<boolean> {
    const mended = await mendDamaged(this.#redis, this.#bull, this.#options.now());
    for (const job of mended) this.#options.log.error({ job }, 'a damaged job record is set aside');
    return mended.length > 0;
  }

  async add(
    jobs: readonly NewJob[],
    options: { readonly marks?: readonly Mark[] } = {},
  ): Promise<{ id: string; added: boolean }[]> {
    this.#checkOpen();
    for (const job of jobs) checkNewJob(job, maxBodyBytes);
    for (const mark of options.marks ?? []) checkMark(mark);
    return this.#ask(async () => {
      // BullMQ does not say whether an id was new; whose name the stored job has does.
      const named = jobs.map((job) => ({ job, name: bullName(randomUUID(), job.lane) }));
      if (jobs.length > 0) await this.#bull.addBulk(named.map(({ job, name }) => this.#bulkJob(job, name)));
      const names = this.#redis.pipeline();
      for (const { job } of named) names.hget(this.#bull.toKey(bullId(job.id)), 'name');
      const stored = jobs.length > 0 ? await names.exec() : [];
      await this.#steering.afterAdd(jobs.filter((_, i) => stored?.[i]?.[1] === named[i]?.name));
      for (const mark of options.marks ?? []) await this.#writeMark(mark);
      return named.map(({ job, name }, i) => ({ id: job.id, added: stored?.[i]?.[1] === name }));
    });
  }

  #bulkJob(job: NewJob, name: string) {
    const now = this.#options.now();
    const dueAt = job.dueAt ?? now;
    const data: BullData = {
      lane: job.lane,
      body: Buffer.from(job.body).toString('base64'),
      about: job.about,
      createdAt: now,
      dueAt,
      ...(job.hold === undefined ? {} : { hold: job.hold.reason }),
    };
    const delay = Math.max(0, Math.ceil(dueAt - now));
    const keep = { age: this.#keeping.doneMs / 1000, count: this.#keeping.doneCount };
    return { name, data, opts: { jobId: bullId(job.id), delay, removeOnComplete: keep, removeOnFail: false } };
  }

  work(rule: LaneRule, worker: Worker): WorkerHandle {
    this.#checkOpen();
    const { gate, callBack } = this.#gate.open(rule, worker);
    this.#gates.add(gate);
    if (this.#worker === undefined) this.#startWorker();
    else this.#worker.concurrency = this.#gate.concurrency;
    this.#callBack(callBack);
    return { stop: (graceMs) => this.#stop(gate, graceMs) };
  }

  #callBack(lanes: readonly string[]): void {
    // Parked jobs come back by time, too.
    const called = Promise.all(lanes.map((lane) => this.#parking.callBackAll(lane)))
      .then(() => undefined)
      .catch((error: unknown) =>
        this.#options.log.warn({ error: String(error) }, 'parked jobs could not be called back'),
      )
      .finally(() => this.#loose.delete(called));
    this.#loose.add(called);
  }

  /** One after the other, each fault reported; close() waits for them. */
  #background(task: () => Promise<void>): void {
    this.#looking = this.#looking.then(task).catch((error: unknown) => {
      this.#options.log.warn({ error: String(error) }, 'the queue could not look after its jobs');
    });
  }

  async #readPauses(): Promise<void> {
    if (this.#closed || !this.#paused.update(await this.pauses())) return;
    const worker = this.#worker;
    if (this.#paused.everything) await worker?.pause(true);
    else if (worker?.isPaused() === true) await worker.resume();
    this.#callBack(this.#gate.pausesChanged());
  }

  async #endOverdue(): Promise<void> {
    const now = this.#options.now();
    for await (const { id, lane, state, createdAt, failing } of unfinishedJobs({
      redis: this.#redis,
      bull: this.#bull,
    })) {
      if (this.#closed) return;
      const verdict = overdue({ state, createdAt, ...(failing === undefined ? {} : { failing }) }, this.#keeping, now);
      if (verdict === 'keep') continue;
      const isDone = verdict === 'drop' ? await this.drop(id) : await this.fail(id, tooOld(this.#keeping));
      const what = verdict === 'drop' ? 'a job that was set aside was dropped' : 'a job is ended';
      if (isDone) this.#options.log.warn({ job: id, lane }, `${what}: it is too old`);
    }
  }

  #startWorker(): void {
    const { url, name, log, takeOverMs = defaultTakeOverMs } = this.#options;
    this.#workerRedis = new Redis(url, { maxRetriesPerRequest: null });
    this.#workerRedis.on('error', (error: Error) =>
      log.warn({ error: error.message }, 'the connection to Redis failed'),
    );
    this.#worker = new BullWorker<BullData>(name, (job, token) => this.#attempts.process(job, token ?? ''), {
      connection: this.#workerRedis,
      prefix: 'epost',
      concurrency: this.#gate.concurrency,
      lockDuration: takeOverMs,
      stalledInterval: takeOverMs,
      // Crashes are counted by us, with their reasons.
      maxStalledCount: 1_000_000,
    });
    this.#worker.on('error', (error) => {
      log.warn({ error: error.message }, 'the queue’s worker met an error');
      if (error instanceof SyntaxError) this.#background(async () => void (await this.#mend()));
    });
    this.#timers.push(
      setInterval(() => this.#background(() => this.#readPauses()), lookAtPausesMs),
      setInterval(() => this.#background(() => this.#endOverdue()), agesEveryMs),
    );
    this.#background(() => this.#readPauses());
    this.#background(() => this.#endOverdue());
  }

  async #stop(gate: Gate, graceMs: number): Promise<void> {
    this.#gate.close(gate);
    this.#gates.delete(gate);
    const mine = [...this.#attempts.running].filter((running) => running.gate === gate);
    for (const { abort } of mine) abort.abort();
    await orAfter(graceMs, Promise.all(mine.map((running) => running.over)));
    for (const running of mine) running.giveUp();
    if (this.#gates.size > 0) {
      if (this.#worker !== undefined) this.#worker.concurrency = this.#gate.concurrency;
      return;
    }
    const worker = this.#worker;
    this.#worker = undefined;
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    // Waits until every job in hand is moved on, if Redis lets it; what is not is taken over when its lease has run out.
    await orAfter(closeWorkerMs, worker?.close());
    this.#workerRedis?.disconnect();
  }

  async list(filter: JobFilter): Promise<Job[]> {
    return this.#ask(() => listBullJobs({ redis: this.#redis, bull: this.#bull }, filter));
  }

  async lanes(limit: number): Promise<LaneFacts[]> {
    return this.#ask(() => bullLanes({ redis: this.#redis, bull: this.#bull }, this.#options.now(), limit));
  }

  async get(id: string): Promise<Job | undefined> {
    return this.#ask(async () => {
      const found = await this.#steering.find(id);
      return found === undefined ? undefined : jobFrom(found.job, found.extra, found.state, true);
    });
  }

  async counts(): Promise<Record<JobState, number>> {
    return this.#ask(() => this.#steering.counts());
  }

  async hold(id: string, reason: string): Promise<boolean> {
    return this.#ask(() => this.#steering.hold(id, shortWhy(reason)));
  }

  async release(id: string): Promise<boolean> {
    return this.#ask(() => this.#steering.release(id));
  }

  async retry(id: string): Promise<boolean> {
    return this.#ask(() => this.#steering.retry(id));
  }

  async fail(id: string, reason: string): Promise<boolean> {
    return this.#ask(() => this.#steering.fail(id, shortWhy(reason)));
  }

  async pause(lane: string, reason: string): Promise<void> {
    checkLane(lane);
    checkPauses(await this.pauses(), lane);
    await this.#ask(() => this.#redis.hset(this.#pausedKey, lane, encodePause(reason, this.#options.now())));
    await this.#readPauses();
  }

  async resume(lane: string): Promise<boolean> {
    const gone = await this.#ask(() => this.#redis.hdel(this.#pausedKey, lane));
    await this.#readPauses();
    if (gone > 0) await this.#ask(() => this.#wakeAll(lane));
    return gone > 0;
  }

  /** What other gateways had parked, dead ones among them. */
  async #wakeAll(lane: string): Promise<void> {
    const parts = { redis: this.#redis, bull: this.#bull };
    for await (const id of sleepingJobs(parts, lane, this.#options.now())) await this.#steering.callBack([id]);
  }

  async pauses(): Promise<Pause[]> {
    const found = await this.#ask(() => this.#redis.hgetall(this.#pausedKey));
    return Object.entries(found)
      .map(([lane, text]) => decodePause(lane, text))
      .sort((a, b) => (a.lane < b.lane ? -1 : 1));
  }

  async drop(id: string): Promise<boolean> {
    return this.#ask(() => this.#steering.drop(id));
  }

  async getMark(key: string): Promise<Uint8Array | undefined> {
    return this.#ask(async () => (await this.#redis.getBuffer(this.#bull.toKey(`epost-mark:${key}`))) ?? undefined);
  }

  /** As durable as Redis is set to be, whatever is asked for. */
  async setMark(key: string, value: Uint8Array, expiresAt: number): Promise<void> {
    const mark = { key, value, expiresAt };
    checkMark(mark);
    await this.#ask(() => this.#writeMark(mark));
  }

  async #writeMark({ key, value, expiresAt }: Mark): Promise<void> {
    const name = this.#bull.toKey(`epost-mark:${key}`);
    await this.#redis.set(name, Buffer.from(value), 'PXAT', Math.ceil(expiresAt));
  }

  async health(): Promise<QueueHealth> {
    return this.#closed ? { ok: false, why: 'the queue is closed' } : redisHealth(this.#redis);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    for (const gate of this.#gates) await this.#stop(gate, closeGraceMs);
    await Promise.all(this.#loose);
    this.#closed = true;
    await this.#looking;
    await this.#bull.close();
    this.#redis.disconnect();
  }
}

/** Waits for what is under way, but not longer. */
async function orAfter(ms: number, underWay: Promise<unknown> | undefined): Promise<void> {
  const patience = new AbortController();
  const over = underWay?.finally(() => patience.abort());
  await Promise.race([over, sleep(ms, undefined, { signal: patience.signal }).catch(() => undefined)]);
}
