/** What becomes of a job after an attempt. Pure: both queues ask here, so that they cannot differ. */
import { maxProgressBytes, shortWhy } from './job-limits.ts';
import type { Attempt, AttemptRecord, JobState } from './queue.ts';

/** The part of a job that attempts change. */
export interface Course {
  readonly attempts: readonly AttemptRecord[];
  readonly attemptCount: number;
  /** Crashes and throws since the last attempt that ended in an answer. */
  readonly setbacks: number;
  readonly progress?: Uint8Array;
  readonly firstFailureAt?: number;
  readonly putOff?: string;
}

export const newCourse: Course = { attempts: [], attemptCount: 0, setbacks: 0 };

/** How an attempt ended, as the queue saw it. */
export type Ending =
  | Attempt
  /** The worker threw. */
  | { readonly kind: 'threw'; readonly why: string }
  /** The process died during the attempt. */
  | { readonly kind: 'crashed'; readonly why: string }
  /** Stopped before anything was decided: nobody's fault. */
  | { readonly kind: 'interrupted' };

export interface Settled {
  readonly course: Course;
  readonly state: Extract<JobState, 'due' | 'done' | 'failed'>;
  readonly dueAt: number;
}

/** Delays after the first, second, ... setback in a row; one more setback than delays, and the job is set aside. */
export interface SetbackDelays {
  readonly thrownMs: readonly number[];
  readonly crashedMs: readonly number[];
}

/**
 * After a throw: long enough for what is broken to be mended. After a crash: at once, since mostly the process was killed and the job is
 * innocent, then further and further apart: of 10,000 jobs that were worked while their process was killed a hundred times within five minutes, 63 were
 * caught by five kills in a row. To be caught by eight, a job must be unlucky for longer than anybody lets a process be killed; what really kills it is
 * set aside after nine minutes, and the others are worked in between.
 */
export const defaultSetbackDelays: SetbackDelays = {
  thrownMs: [5_000, 30_000, 120_000, 600_000],
  crashedMs: [0, 1_000, 5_000, 30_000, 60_000, 120_000, 300_000],
};

/** Enough to see how a job fared over five days, and small enough to rewrite at each attempt. */
const keptAttempts = 50;

function checked(ending: Ending): Ending {
  if (ending.kind === 'later' && (ending.progress?.byteLength ?? 0) > maxProgressBytes) {
    return { kind: 'threw', why: `progress of more than ${maxProgressBytes} bytes` };
  }
  const hasTime = ending.kind === 'later' || ending.kind === 'put-off';
  if (hasTime && !Number.isFinite(ending.at)) return { kind: 'threw', why: `${ending.kind} without a time` };
  return ending;
}

/** The course after `given`, whether the job is due again and when. `now` is when the attempt ended. */
export function settle(course: Course, given: Ending, startedAt: number, now: number, delays: SetbackDelays): Settled {
  const ending = checked(given);
  if (ending.kind === 'interrupted') return { course, state: 'due', dueAt: now };
  if (ending.kind === 'put-off') {
    return { course: { ...course, putOff: shortWhy(ending.why) }, state: 'due', dueAt: Math.max(now, ending.at) };
  }
  const setback = ending.kind === 'threw' || ending.kind === 'crashed';
  const record: AttemptRecord = {
    at: startedAt,
    tookMs: Math.max(0, now - startedAt),
    outcome: setback ? 'crashed' : ending.kind,
    why: shortWhy(ending.why),
  };
  const setbacks = setback ? course.setbacks + 1 : 0;
  const progress = ending.kind === 'later' ? (ending.progress ?? course.progress) : course.progress;
  const firstFailureAt = ending.kind === 'done' ? course.firstFailureAt : (course.firstFailureAt ?? now);
  const after: Course = {
    attempts: [...course.attempts, record].slice(-keptAttempts),
    attemptCount: course.attemptCount + 1,
    setbacks,
    ...(progress === undefined ? {} : { progress }),
    ...(firstFailureAt === undefined ? {} : { firstFailureAt }),
  };
  if (ending.kind === 'done') return { course: after, state: 'done', dueAt: now };
  if (ending.kind === 'never') return { course: after, state: 'failed', dueAt: now };
  if (ending.kind === 'later') return { course: after, state: 'due', dueAt: Math.max(now, ending.at) };
  const delay = (ending.kind === 'threw' ? delays.thrownMs : delays.crashedMs)[setbacks - 1];
  return delay === undefined
    ? { course: after, state: 'failed', dueAt: now }
    : { course: after, state: 'due', dueAt: now + delay };
}

/** A fresh start for a job that was set aside: its history stays, its count of setbacks and its age do not. */
export function forgiven(course: Course): Course {
  const { firstFailureAt: _, ...rest } = course;
  return { ...rest, setbacks: 0 };
}
