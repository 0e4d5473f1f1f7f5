/**
 * How a job lies in Redis: BullMQ's own job hash, whose `data` never changes until the job is done, with some fields of ours beside it. They go when
 * BullMQ removes the job. `hold`, `failing` and `verdict` are written by whoever steers, the others by whoever holds the job's lock.
 */
import { type Job as BullJob, UnrecoverableError } from 'bullmq';
import type { Redis } from 'ioredis';
import { type Course, newCourse } from './course.ts';
import type { Job, JobAbout, JobState } from './queue.ts';

export interface BullData {
  readonly lane: string;
  /** base64, empty once the job is done: BullMQ keeps data as JSON. */
  readonly body: string;
  readonly about: JobAbout;
  readonly createdAt: number;
  readonly dueAt: number;
  /** Held from the start, for this reason; later words are in the `hold` field. */
  readonly hold?: string;
}

export function bodyBytes({ body }: BullData): number {
  return Math.floor((body.length * 3) / 4);
}

export interface Extra {
  readonly course: Course;
  readonly dueAt: number;
  readonly hold?: string;
  readonly failing?: string;
  /** Decided; BullMQ's own state follows when a worker next meets the job. */
  readonly verdict?: 'done' | 'failed';
  /** An attempt began and has not ended: it is being made, or its process died. */
  readonly startedAt?: number;
  /** What is written here is not what was written by us: to be set aside. */
  readonly damaged?: true;
}

export const fields = {
  course: 'epost-course',
  due: 'epost-due',
  hold: 'epost-hold',
  verdict: 'epost-verdict',
  started: 'epost-started',
  failing: 'epost-failing',
} as const;

/** BullMQ refuses ':' and plain numbers as ids. */
export function bullId(id: string): string {
  return `j-${encodeURIComponent(id)}`;
}

export function idOf(job: BullJob<BullData>): string {
  return decodeURIComponent((job.id ?? '').slice(2));
}

interface StoredCourse extends Omit<Course, 'progress'> {
  readonly progress?: string;
}

export function encodeCourse({ progress, ...rest }: Course): string {
  const stored: StoredCourse = {
    ...rest,
    ...(progress === undefined ? {} : { progress: Buffer.from(progress).toString('base64') }),
  };
  return JSON.stringify(stored);
}

/** Undefined for what is not what was written. */
function decodeCourse(text: string | null | undefined): Course | undefined {
  if (text === null || text === undefined) return newCourse;
  try {
    const { progress, ...rest } = JSON.parse(text) as StoredCourse;
    if (!Array.isArray(rest.attempts)) return undefined;
    return { ...rest, ...(progress === undefined ? {} : { progress: Buffer.from(progress, 'base64') }) };
  } catch {
    return undefined;
  }
}

/** The course of a job that is set aside because its record was damaged. */
export function damagedCourse(now: number): Course {
  const why = 'the record of this job was damaged in Redis';
  return { ...newCourse, attempts: [{ at: now, tookMs: 0, outcome: 'crashed', why }], attemptCount: 1 };
}

const wanted = [fields.course, fields.due, fields.hold, fields.verdict, fields.started, fields.failing];

export async function readExtra(redis: Redis, key: string, data: BullData): Promise<Extra> {
  return extraFrom(await redis.hmget(key, ...wanted), data);
}

/** Of many jobs in one round trip. */
export async function readExtras(redis: Redis, jobs: readonly { key: string; data: BullData }[]): Promise<Extra[]> {
  if (jobs.length === 0) return [];
  const asked = redis.pipeline();
  for (const { key } of jobs) asked.hmget(key, ...wanted);
  const answers = (await asked.exec()) ?? [];
  return jobs.map(({ data }, i) => {
    const [error, values] = answers[i] ?? [new Error('Redis gave no answer')];
    if (error !== null) throw error;
    return extraFrom(values as (string | null)[], data);
  });
}

function extraFrom(values: readonly (string | null)[], data: BullData): Extra {
  const [course, dueAt, hold, verdict, startedAt, failing] = values;
  // An empty `hold` says "released", which an absent one would not say of a job that was added held.
  const reason = typeof hold === 'string' ? hold : (data.hold ?? '');
  const decoded = decodeCourse(course);
  return {
    course: decoded ?? newCourse,
    ...(decoded === undefined ? { damaged: true as const } : {}),
    dueAt: typeof dueAt === 'string' ? Number(dueAt) : data.dueAt,
    ...(reason === '' ? {} : { hold: reason }),
    ...(typeof failing === 'string' ? { failing } : {}),
    ...(verdict === 'done' || verdict === 'failed' ? { verdict } : {}),
    ...(typeof startedAt === 'string' ? { startedAt: Number.parseInt(startedAt, 10) } : {}),
  };
}

/** What our contract calls the state BullMQ and our fields describe. */
export function stateOf(bullState: string, extra: Extra): JobState {
  if (bullState === 'completed') return 'done';
  if (extra.verdict !== undefined) return extra.verdict;
  if (extra.damaged === true) return 'failed';
  if (bullState === 'failed') return 'failed';
  if (bullState === 'active' && extra.startedAt !== undefined) return 'running';
  return extra.hold === undefined ? 'due' : 'held';
}

export function jobFrom(job: BullJob<BullData>, extra: Extra, state: JobState, withBody: boolean): Job {
  const { progress, firstFailureAt, attempts, attemptCount, putOff } = extra.course;
  return {
    id: idOf(job),
    lane: job.data.lane,
    state,
    body: withBody ? Uint8Array.from(Buffer.from(job.data.body, 'base64')) : new Uint8Array(),
    about: job.data.about,
    createdAt: job.data.createdAt,
    dueAt: extra.dueAt,
    attempts,
    attemptCount,
    ...(progress === undefined ? {} : { progress: Uint8Array.from(progress) }),
    ...(firstFailureAt === undefined ? {} : { firstFailureAt }),
    ...(extra.hold === undefined ? {} : { holdReason: extra.hold }),
    ...(extra.failing === undefined ? {} : { failing: extra.failing }),
    ...(putOff === undefined ? {} : { putOff }),
  };
}

/** Tells BullMQ to keep the job as failed. */
export function setAside(why: string): UnrecoverableError {
  return new UnrecoverableError(why);
}
