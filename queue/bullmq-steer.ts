/** Finding, counting and steering jobs in Redis. Steering marks a job; BullMQ's own state follows at once where it can, else when a worker meets it. */
import type { Job as BullJob, Queue as BullQueue } from 'bullmq';
import type { Redis } from 'ioredis';
import { type BullData, bullId, type Extra, encodeCourse, fields, readExtra, stateOf } from './bullmq-job.ts';
import { forgiven } from './course.ts';
import type { JobState, NewJob } from './queue.ts';

export interface SteerParts {
  readonly redis: Redis;
  readonly bull: BullQueue<BullData>;
  readonly now: () => number;
  readonly heldKey: string;
  readonly droppedKey: string;
}

interface FoundJob {
  readonly job: BullJob<BullData>;
  readonly key: string;
  readonly extra: Extra;
  readonly bullState: string;
  readonly state: JobState;
}

export class BullSteering {
  readonly #parts: SteerParts;

  constructor(parts: SteerParts) {
    this.#parts = parts;
  }

  async find(id: string): Promise<FoundJob | undefined> {
    const { redis, bull } = this.#parts;
    const job = await bull.getJob(bullId(id));
    if (job === undefined) return undefined;
    const key = bull.toKey(bullId(id));
    const extra = await readExtra(redis, key, job.data);
    const bullState = await job.getState();
    return { job, key, extra, bullState, state: stateOf(bullState, extra) };
  }

  async counts(): Promise<Record<JobState, number>> {
    const { redis, bull, heldKey, droppedKey } = this.#parts;
    const counted = await bull.getJobCounts(
      'wait',
      'delayed',
      'prioritized',

      'active',
      'failed',
      'completed',
    );
    const [held, dropped] = [await redis.scard(heldKey), await redis.scard(droppedKey)];
    const of = (type: string) => counted[type] ?? 0;
    const waiting = of('wait') + of('delayed') + of('prioritized');
    return {
      due: Math.max(0, waiting - held - dropped),
      running: of('active'),
      held,
      failed: of('failed'),
      done: of('completed') + dropped,
    };
  }

  /** Counts new held jobs as such. */
  async afterAdd(added: readonly NewJob[]): Promise<void> {
    const held = added.filter((job) => job.hold !== undefined).map((job) => bullId(job.id));
    if (held.length > 0) await this.#parts.redis.sadd(this.#parts.heldKey, ...held);
  }

  /** Wakes delayed jobs; those that are not delayed (any more) need no waking. */
  async callBack(bullIds: readonly string[]): Promise<void> {
    for (const id of bullIds) {
      const job = await this.#parts.bull.getJob(id);
      if (job !== undefined) await this.#wake(job);
    }
  }

  async #wake(job: BullJob<BullData>): Promise<void> {
    // A worker looks at what is really to be done, so waking once too often does no harm, and "not delayed" is no fault.
    if (await job.isDelayed()) await job.promote().catch(() => undefined);
  }

  async hold(id: string, reason: string): Promise<boolean> {
    const found = await this.find(id);
    if (found === undefined || (found.state !== 'due' && found.state !== 'running')) return false;
    await this.#parts.redis.hset(found.key, fields.hold, reason);
    if (found.state === 'due') await this.#parts.redis.sadd(this.#parts.heldKey, bullId(id));
    return true;
  }

  async release(id: string): Promise<boolean> {
    const found = await this.find(id);
    if (found === undefined || found.extra.hold === undefined) return false;
    if (found.state !== 'held' && found.state !== 'running') return false;
    const { redis, heldKey } = this.#parts;
    await redis.multi().hset(found.key, fields.hold, '').srem(heldKey, bullId(id)).exec();
    await this.#wake(found.job);
    return true;
  }

  async retry(id: string): Promise<boolean> {
    return this.#dueNow(id, undefined);
  }

  async fail(id: string, reason: string): Promise<boolean> {
    return this.#dueNow(id, reason);
  }

  async #dueNow(id: string, failing: string | undefined): Promise<boolean> {
    const found = await this.find(id);
    if (found === undefined || found.state === 'running' || found.state === 'done') return false;
    const { redis, now, heldKey } = this.#parts;
    const course = found.state === 'failed' ? forgiven(found.extra.course) : { ...found.extra.course, setbacks: 0 };
    const write = redis.multi();
    if (failing === undefined) write.hdel(found.key, fields.failing);
    else write.hset(found.key, fields.failing, failing);
    await write
      .hset(found.key, fields.course, encodeCourse(course))
      .hset(found.key, fields.due, now())
      .hset(found.key, fields.hold, '')
      .hdel(found.key, fields.verdict)
      .srem(heldKey, bullId(id))
      .exec();
    await this.#toWorker(found);
    return true;
  }

  /** The body goes at once; a worker completes the job for BullMQ. */
  async drop(id: string): Promise<boolean> {
    const found = await this.find(id);
    if (found === undefined || found.state === 'running' || found.state === 'done') return false;
    const { redis, heldKey, droppedKey } = this.#parts;
    await redis
      .multi()
      .hset(found.key, fields.verdict, 'done')
      .srem(heldKey, bullId(id))
      .sadd(droppedKey, bullId(id))
      .exec();
    await found.job.updateData({ ...found.job.data, body: '' });
    await this.#toWorker(found);
    return true;
  }

  async #toWorker({ job, bullState }: FoundJob): Promise<void> {
    if (bullState === 'failed') await job.retry('failed');
    else await this.#wake(job);
  }
}
