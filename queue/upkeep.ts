/** What time does to jobs that nobody works: pure decisions, for both queues. */
import type { JobRecord } from './job-record.ts';
import type { Keeping } from './queue.ts';
import { dropped, failing, type Transition } from './transitions.ts';

/** A job of this state that came at `createdAt`, and whether its time here is over. */
export type Overdue = 'fail' | 'drop' | 'keep';

export function overdue(
  job: Pick<JobRecord, 'state' | 'createdAt' | 'failing'>,
  keeping: Keeping,
  now: number,
): Overdue {
  if (now - job.createdAt < keeping.maxAgeMs) return 'keep';
  if (job.state === 'failed') return 'drop';
  // A job that is to be ended already is not told so again and again.
  return (job.state === 'due' || job.state === 'held') && job.failing === undefined ? 'fail' : 'keep';
}

export function tooOld(keeping: Keeping): string {
  return `it was in the queue for more than ${Math.round(keeping.maxAgeMs / 86_400_000)} days`;
}

/** Undefined from it where the job may stay. */
export function aged(keeping: Keeping, now: number): Transition {
  return (record) => {
    const verdict = overdue(record, keeping, now);
    if (verdict === 'keep') return undefined;
    return verdict === 'drop' ? dropped(now)(record) : failing(tooOld(keeping), now)(record);
  };
}

/** Below this a clock is only being adjusted. */
const leastStepMs = 10_000;

/**
 * Sees a clock that was set back: by how much, or undefined. What waits for a time would wait that much longer: mail due in a minute for a day, where
 * the clock had been a day ahead.
 */
export class ClockWatch {
  #last: number;

  constructor(now: number) {
    this.#last = now;
  }

  look(now: number): number | undefined {
    const back = this.#last - now;
    this.#last = now;
    return back >= leastStepMs ? back : undefined;
  }
}
