/** Every move between a job's states, as functions of its record; undefined where the contract says no. Pure. */
import { type Ending, forgiven, newCourse, type SetbackDelays, settle } from './course.ts';
import { type BodyPlace, changed, type JobRecord } from './job-record.ts';
import type { NewJob } from './queue.ts';

export type Transition = (record: JobRecord) => JobRecord | undefined;

export function newRecord(job: NewJob, body: BodyPlace, now: number): JobRecord {
  return {
    id: job.id,
    lane: job.lane,
    state: job.hold === undefined ? 'due' : 'held',
    about: job.about,
    createdAt: now,
    dueAt: job.dueAt ?? now,
    ...newCourse,
    ...(job.hold === undefined ? {} : { holdReason: job.hold.reason }),
    body,
  };
}

export function begun(now: number): Transition {
  return (record) =>
    record.state === 'due' && record.dueAt <= now ? changed(record, { state: 'running', startedAt: now }) : undefined;
}

/** The end of the attempt that began at `startedAt`; undefined if that is no longer the one being made. */
export function ended(ending: Ending, startedAt: number, now: number, delays: SetbackDelays): Transition {
  return (record) => {
    if (record.state !== 'running' || record.startedAt !== startedAt) return undefined;
    const { course, state, dueAt } = settle(record, ending, startedAt, now, delays);
    const next = changed(record, { putOff: undefined, ...course, dueAt, startedAt: undefined });
    if (state === 'done') return finished(next, now);
    if (state === 'failed') return changed(next, { state, holdReason: undefined });
    return changed(next, { state: record.holdReason === undefined ? 'due' : 'held' });
  };
}

export function held(reason: string): Transition {
  return (record) => {
    if (record.state === 'due') return changed(record, { state: 'held', holdReason: reason });
    return record.state === 'running' ? changed(record, { holdReason: reason }) : undefined;
  };
}

export const released: Transition = (record) => {
  if (record.state === 'held') return changed(record, { state: 'due', holdReason: undefined });
  const wanted = record.state === 'running' && record.holdReason !== undefined;
  return wanted ? changed(record, { holdReason: undefined }) : undefined;
};

export function retried(now: number): Transition {
  return (record) => {
    if (record.state === 'failed') {
      const clean = changed(record, { firstFailureAt: undefined, ...forgiven(record) });
      return changed(clean, { state: 'due', dueAt: now, failing: undefined });
    }
    if (record.state !== 'due' && record.state !== 'held') return undefined;
    return changed(record, { state: 'due', dueAt: now, setbacks: 0, holdReason: undefined, failing: undefined });
  };
}

/** To be ended by its worker, now. */
export function failing(reason: string, now: number): Transition {
  return (record) => {
    if (record.state !== 'due' && record.state !== 'held' && record.state !== 'failed') return undefined;
    return changed(record, { state: 'due', dueAt: now, setbacks: 0, holdReason: undefined, failing: reason });
  };
}

export function dropped(now: number): Transition {
  return (record) => (record.state === 'running' || record.state === 'done' ? undefined : finished(record, now));
}

function finished(record: JobRecord, now: number): JobRecord {
  // Progress goes with the body: it may be as large, and nobody will read it again.
  return changed(record, {
    state: 'done',
    finishedAt: now,
    body: undefined,
    progress: undefined,
    holdReason: undefined,
  });
}
