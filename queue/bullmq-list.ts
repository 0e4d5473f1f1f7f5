/** Looking through the jobs in Redis, a page at a time. */
import type { Job as BullJob, Queue as BullQueue, JobType } from 'bullmq';
import type { Redis } from 'ioredis';
import { type BullData, type Extra, jobFrom, readExtras, stateOf } from './bullmq-job.ts';
import { aboutMatches } from './job-limits.ts';
import { everyLane, type Job, type JobFilter, type JobState, type LaneFacts } from './queue.ts';

export interface ListParts {
  readonly redis: Redis;
  readonly bull: BullQueue<BullData>;
}

const pageSize = 100;
/** Redis has no lanes to count: so many jobs are looked at, which is some seconds. */
const lookedForLanes = 50_000;

const bullStates: Readonly<Record<JobState, JobType[]>> = {
  due: ['wait', 'delayed', 'prioritized', 'active'],
  running: ['active'],
  held: ['wait', 'delayed', 'prioritized', 'active'],
  failed: ['failed', 'wait', 'delayed', 'active'],
  done: ['completed', 'wait', 'delayed', 'active'],
};

interface Seen {
  readonly job: BullJob<BullData>;
  readonly extra: Extra;
  readonly state: JobState;
}

/** Jobs of these states, each once; `wanted` is asked before more is read about a job. */
async function* eachJob(
  { redis, bull }: ListParts,
  states: readonly JobState[],
  wanted: (data: BullData) => boolean,
): AsyncGenerator<Seen> {
  const types = [...new Set(states.flatMap((state) => bullStates[state]))];
  const seen = new Set<string>();
  // A job that a worker picks up and puts off while we read is in none of these when we look there: so once more at the end.
  for (const type of types.includes('active') ? [...types, 'delayed' as const] : types) {
    for (let start = 0; ; start += pageSize) {
      const page = await bull.getJobs([type], start, start + pageSize - 1, true);
      const fresh = page.filter((job) => job?.id !== undefined && !seen.has(job.id) && wanted(job.data));
      const extras = await readExtras(
        redis,
        fresh.map((job) => ({ key: bull.toKey(job.id!), data: job.data })),
      );
      for (const [i, job] of fresh.entries()) {
        const extra = extras[i]!;
        const state = stateOf(type, extra);
        if (!states.includes(state)) continue;
        // A job may move from one page to another while we read.
        seen.add(job.id!);
        yield { job, extra, state };
      }
      if (page.length < pageSize) break;
    }
  }
}

const allStates: readonly JobState[] = ['due', 'running', 'held', 'failed', 'done'];

export async function listBullJobs(parts: ListParts, filter: JobFilter): Promise<Job[]> {
  const found: Job[] = [];
  if (filter.limit <= 0) return found;
  const wanted = ({ lane, about }: BullData): boolean =>
    (filter.lane === undefined || filter.lane === lane) && aboutMatches(about, filter.about);
  for await (const { job, extra, state } of eachJob(
    parts,
    filter.state === undefined ? allStates : [filter.state],
    wanted,
  )) {
    found.push(jobFrom(job, extra, state, false));
    if (found.length >= filter.limit) break;
  }
  return found;
}

/** Jobs that may be too old, as their state and age say. */
export async function* unfinishedJobs(parts: ListParts): AsyncGenerator<Job> {
  for await (const { job, extra, state } of eachJob(parts, ['held', 'due', 'failed'], () => true)) {
    yield jobFrom(job, extra, state, false);
  }
}

/** Jobs of a lane (or of all) that could be tried now and sleep: a gateway that is gone had parked them. */
export async function* sleepingJobs(parts: ListParts, lane: string, now: number): AsyncGenerator<string> {
  const wanted = (data: BullData): boolean => lane === everyLane || data.lane === lane;
  for await (const { job, extra } of eachJob(parts, ['due'], wanted)) if (extra.dueAt <= now) yield job.id!;
}

type Counting = { -readonly [K in keyof LaneFacts]: LaneFacts[K] };

/** As far as some tens of thousands of jobs show it. */
export async function bullLanes(parts: ListParts, now: number, limit: number): Promise<LaneFacts[]> {
  const lanes = new Map<string, Counting>();
  let looked = 0;
  for await (const { job, extra, state } of eachJob(parts, ['running', 'due', 'held', 'failed'], () => true)) {
    const { lane } = job.data;
    const facts = lanes.get(lane) ?? { lane, due: 0, ready: 0, running: 0, held: 0, failed: 0 };
    lanes.set(lane, facts);
    if (state !== 'done') facts[state] += 1;
    if (state === 'due' && extra.dueAt <= now) facts.ready += 1;
    if (state === 'due') facts.nextAt = Math.min(facts.nextAt ?? extra.dueAt, extra.dueAt);
    const last = extra.course.attempts.at(-1);
    if (last !== undefined && last.at >= (facts.last?.at ?? 0)) facts.last = last;
    looked += 1;
    if (looked >= lookedForLanes) break;
  }
  return [...lanes.values()].sort((a, b) => (a.lane < b.lane ? -1 : 1)).slice(0, limit);
}
