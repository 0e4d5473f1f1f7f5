/** What a BullMQ worker does with a job it was given: park it, hold it, or make an attempt and move it on. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Job as BullJob, DelayedError } from 'bullmq';
import type { Redis } from 'ioredis';
import { type Fence, LostLease, writeFenced } from './bullmq-fence.ts';
import {
  type BullData,
  bodyBytes,
  damagedCourse,
  type Extra,
  encodeCourse,
  fields,
  jobFrom,
  readExtra,
  setAside,
} from './bullmq-job.ts';
import type { BullParking } from './bullmq-parking.ts';
import { type Course, type Ending, type SetbackDelays, settle } from './course.ts';
import type { Entering, Gate, LaneGate, Place } from './lane-gate.ts';
import type { QueueLog } from './queue.ts';

export interface AttemptParts {
  readonly redis: Redis;
  readonly gate: LaneGate;
  readonly delays: SetbackDelays;
  readonly now: () => number;
  readonly log: QueueLog;
  readonly keyOf: (bullId: string) => string;
  /** The set of ids that are held, and of those dropped but not yet completed: BullMQ cannot count them. */
  readonly heldKey: string;
  readonly droppedKey: string;
  readonly parking: BullParking;
}

/** One attempt being made; stop() aborts it and, after the grace, gives it up. */
export interface Running {
  readonly gate: Gate;
  readonly abort: AbortController;
  readonly giveUp: () => void;
  readonly over: Promise<void>;
}

/** BullMQ keeps times in 41 bits (until 2039); a held job that wakes up is put to sleep again. */
const sleepOfHeldMs = 365 * 24 * 3_600_000;
const pauseAfterFaultMs = 1_000;
/** A quarter of an hour: then another gateway has long taken the job over. */
const triesToWriteDown = 900;

interface Lease {
  readonly key: string;
  /** By which BullMQ knows who works the job. */
  readonly token: string;
}

const interrupted: Ending = { kind: 'interrupted' };

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export class BullAttempts {
  readonly #parts: AttemptParts;
  readonly running = new Set<Running>();
  /** By one at a time. */
  #isSweeping = false;

  constructor(parts: AttemptParts) {
    this.#parts = parts;
  }

  /** BullMQ's processor: returns when the job is done; throws DelayedError when it was put off, UnrecoverableError when it is set aside. */
  async process(job: BullJob<BullData>, token: string): Promise<string> {
    const bullId = job.id ?? '';
    const outcome = await this.#step(job, { key: this.#parts.keyOf(bullId), token }).catch(async (error: unknown) => {
      this.#parts.log.error({ job: bullId, error: text(error) }, 'the queue could not make or record an attempt');
      if (error instanceof LostLease) return { kind: 'lost' } as const;
      await sleep(pauseAfterFaultMs);
      return { kind: 'put-off', at: this.#parts.now() + pauseAfterFaultMs } as const;
    });
    if (outcome.kind === 'done') return 'done';
    if (outcome.kind === 'lost') throw new DelayedError();
    if (outcome.kind === 'failed') throw setAside(outcome.why);
    await job.moveToDelayed(Math.ceil(outcome.at), token).catch((error: unknown) => {
      // The lock is gone or Redis is: the job counts as stalled and is taken up by whoever looks next.
      this.#parts.log.warn({ job: bullId, error: text(error) }, 'a job could not be put off');
    });
    if (outcome.kind === 'parked')
      await this.#afterParking(bullId, outcome.entering).catch((error: unknown) => {
        // It comes back by time.
        this.#parts.log.warn({ job: bullId, error: text(error) }, 'a job that was parked could not be noted');
      });
    throw new DelayedError();
  }

  async #step(job: BullJob<BullData>, lease: Lease): Promise<Outcome> {
    const { gate, redis, now, parking } = this.#parts;
    const extra = await this.#afterCrash(lease, await readExtra(redis, lease.key, job.data));
    if (extra.damaged === true) return this.#setAside(job, lease);
    if (extra.verdict !== undefined) return this.#decided(job, extra.verdict, extra.course);
    if (extra.hold !== undefined) return this.#putToSleep(job);
    if (extra.dueAt > now()) return { kind: 'put-off', at: extra.dueAt };
    const { lane, about } = job.data;
    const entering = { lane, about, bodyBytes: bodyBytes(job.data) };
    const place = gate.enter(entering, now());
    if (place === undefined) return { kind: 'parked', at: now() + gate.parkingMs(lane, now()), entering };
    try {
      if (gate.timesParked(lane) !== undefined) await parking.left(lane, job.id!);
      return await this.#attempt(job, lease, extra, place);
    } finally {
      gate.leave(place);
      await this.#callBack(lane);
    }
  }

  async #setAside(job: BullJob<BullData>, lease: Lease): Promise<Outcome> {
    const { now, log } = this.#parts;
    const course = damagedCourse(now());
    await this.#save(lease.key, lease, course, now(), 'failed');
    log.error({ job: job.id }, 'a damaged job record was set aside');
    return this.#decided(job, 'failed', course);
  }

  /**
   * It is delayed by now. Whoever left a place before it was noted did not find it, and so the place is looked at once more. Then all that lie in front
   * and have no place either are parked with it, out of the others' way.
   */
  async #afterParking(bullId: string, entering: Entering): Promise<void> {
    const { gate, parking, now } = this.#parts;
    const { lane } = entering;
    await parking.park(lane, bullId, now());
    gate.parked([lane]);
    if (gate.wouldEnter(entering, now())) await this.#callOne(lane);
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    try {
      while (await this.#sweep(lane));
    } finally {
      this.#isSweeping = false;
    }
  }

  /** Whether there may be more. */
  async #sweep(lane: string): Promise<boolean> {
    const { gate, parking, now } = this.#parts;
    const { lanes, isFull } = await parking.sweepAside(gate.full(lane, now()), now());
    gate.parked(lanes);
    for (const swept of lanes) if (gate.hasPlace(swept, now())) await this.#callOne(swept);
    return isFull;
  }

  /** Someone left a place in this lane: the next of it, and of another that waited for the worker's total or the group's. */
  async #callBack(lane: string): Promise<void> {
    const { gate, now } = this.#parts;
    await this.#callOne(lane);
    for (let other = gate.nextOther(lane, now()); other !== undefined; other = gate.nextOther(lane, now())) {
      if (await this.#callOne(other)) return;
    }
  }

  async #callOne(lane: string): Promise<boolean> {
    const { gate, parking } = this.#parts;
    const times = gate.timesParked(lane);
    if (times === undefined) return false;
    const called = await parking.callBack(lane, 1);
    if (called === 0) gate.nothingParked(lane, times);
    return called > 0;
  }

  /** An attempt that began and did not end was cut short by the death of its process. */
  async #afterCrash(lease: Lease, extra: Extra): Promise<Extra> {
    if (extra.startedAt === undefined) return extra;
    const { now, delays } = this.#parts;
    const crash: Ending = { kind: 'crashed', why: 'the process ended during the attempt' };
    const { course, state, dueAt } = settle(extra.course, crash, extra.startedAt, now(), delays);
    const { startedAt: _, ...rest } = extra;
    const failed = state === 'failed' ? { verdict: 'failed' as const } : {};
    await this.#save(lease.key, lease, course, dueAt, failed.verdict);
    return { ...rest, course, dueAt, ...failed };
  }

  async #save(
    key: string,
    fence: Fence,
    course: Course,
    dueAt: number,
    verdict: 'done' | 'failed' | undefined,
  ): Promise<void> {
    const decided = verdict === undefined ? {} : { [fields.verdict]: verdict };
    const set = { [fields.course]: encodeCourse(course), [fields.due]: dueAt, ...decided };
    await writeFenced(this.#parts.redis, key, fence, set, [fields.started]);
  }

  /** What an attempt came to is written down when Redis is back: else the job counts as crashed, and is done once more. */
  async #whenRedisIsBack<T>(jobId: string, action: () => Promise<T>, gate: Gate): Promise<T> {
    for (let tries = 0; ; tries += 1) {
      try {
        return await action();
      } catch (error) {
        if (error instanceof LostLease || gate.stopped || tries >= triesToWriteDown) throw error;
        const message = 'the end of an attempt could not be written down; trying again';
        this.#parts.log.error({ job: jobId, error: text(error) }, message);
        await sleep(pauseAfterFaultMs);
      }
    }
  }

  async #attempt(job: BullJob<BullData>, lease: Lease, extra: Extra, place: Place): Promise<Outcome> {
    const { redis, now, delays, log } = this.#parts;
    const startedAt = now();
    // The token makes it ours among all attempts that began in this millisecond.
    const started = `${startedAt} ${lease.token}`;
    await writeFenced(redis, lease.key, lease, { [fields.started]: started });
    const ending = place.gate.stopped ? interrupted : await this.#run(job, extra, place.gate);
    const { course, state, dueAt } = settle(extra.course, ending, startedAt, now(), delays);
    // Progress goes with the body.
    const { progress: _, ...finished } = course;
    const { steered, verdict } = await this.#whenRedisIsBack(
      job.id!,
      async () => {
        const found = await readExtra(redis, lease.key, job.data);
        const decided = found.verdict ?? (state === 'due' ? undefined : state);
        await this.#save(lease.key, { started }, decided === 'done' ? finished : course, dueAt, decided);
        return { steered: found, verdict: decided };
      },
      place.gate,
    );
    if (verdict === 'failed') log.error({ job: job.id, why: course.attempts.at(-1)?.why }, 'a job was set aside');
    if (verdict !== undefined) return this.#decided(job, verdict, course);
    return steered.hold === undefined ? { kind: 'put-off', at: dueAt } : this.#putToSleep(job);
  }

  async #run(job: BullJob<BullData>, extra: Extra, gate: Gate): Promise<Ending> {
    const abort = new AbortController();
    const givenUp = Promise.withResolvers<Ending>();
    const over = Promise.withResolvers<void>();
    const running: Running = { gate, abort, giveUp: () => givenUp.resolve(interrupted), over: over.promise };
    this.running.add(running);
    const attempt = gate.worker(jobFrom(job, extra, 'running', true), abort.signal).catch((error: unknown): Ending => {
      return abort.signal.aborted ? interrupted : { kind: 'threw', why: text(error) };
    });
    try {
      return await Promise.race([attempt, givenUp.promise]);
    } finally {
      this.running.delete(running);
      over.resolve();
    }
  }

  async #decided(job: BullJob<BullData>, verdict: 'done' | 'failed', course: Course): Promise<Outcome> {
    const { redis, heldKey, droppedKey } = this.#parts;
    if (verdict === 'failed') return { kind: 'failed', why: course.attempts.at(-1)?.why ?? 'set aside' };
    if (job.data.body !== '') await job.updateData({ ...job.data, body: '' });
    await redis.multi().srem(heldKey, job.id!).srem(droppedKey, job.id!).exec();
    return { kind: 'done' };
  }

  async #putToSleep(job: BullJob<BullData>): Promise<Outcome> {
    await this.#parts.redis.sadd(this.#parts.heldKey, job.id!);
    return { kind: 'put-off', at: this.#parts.now() + sleepOfHeldMs };
  }
}

type Outcome =
  | { kind: 'done' }
  | { kind: 'failed'; why: string }
  | { kind: 'put-off'; at: number }
  | { kind: 'parked'; at: number; entering: Entering };
