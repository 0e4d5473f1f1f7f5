/**
 * The order jobs are found in: keys of (state, lane, time, id). The next job of a lane is one seek away, and so is the next lane, however many jobs
 * wait. Finished jobs have no lane in their key, so that the oldest of them all come first.
 */
import type { Database } from 'lmdb';
import type { JobRecord } from './job-record.ts';
import type { JobState } from './queue.ts';

export type IndexKey = [state: number, lane: string, at: number, id: string];
export type IndexDb = Database<Buffer, (number | string)[]>;

/** Written to disk: never renumber. */
const codes: Readonly<Record<JobState, number>> = { due: 1, running: 2, held: 3, failed: 4, done: 5 };

export const indexValue = Buffer.from([1]);

export function indexKey(record: JobRecord): IndexKey {
  if (record.state === 'done') return [codes.done, '', record.finishedAt ?? 0, record.id];
  return [codes[record.state], record.lane, record.dueAt, record.id];
}

interface Range {
  readonly start: (number | string)[];
  readonly end: (number | string)[];
}

/** All keys of a state, or of one lane in it; of `done` only the whole. */
export function stateRange(state: JobState, lane?: string): Range {
  if (lane === undefined || state === 'done') return { start: [codes[state]], end: [codes[state] + 1] };
  return { start: [codes[state], lane], end: [codes[state], lane, Number.POSITIVE_INFINITY] };
}

export function* keysIn(db: IndexDb, range: Range, limit: number): Generator<IndexKey> {
  for (const key of db.getKeys({ ...range, limit })) yield key as IndexKey;
}

/** The due job of this lane with the earliest due time. */
export function headOf(db: IndexDb, lane: string): IndexKey | undefined {
  const [key] = [...keysIn(db, stateRange('due', lane), 1)];
  return key;
}

/** Every lane that has a due job, with the time of its first; one seek per lane. */
export function* laneHeads(db: IndexDb): Generator<{ lane: string; at: number }> {
  const { start, end } = stateRange('due');
  for (let from = start; ; ) {
    const [key] = [...keysIn(db, { start: from, end }, 1)];
    if (key === undefined) return;
    yield { lane: key[1], at: key[2] };
    from = [codes.due, key[1], Number.POSITIVE_INFINITY];
  }
}

/** Keys of finished jobs that finished before `at`. */
export function doneBefore(db: IndexDb, at: number, limit: number): IndexKey[] {
  return [...keysIn(db, { start: [codes.done], end: [codes.done, '', at] }, limit)];
}

/** Every lane that has a job that is not done, from `after` on; at most four seeks per lane. */
export function* lanesAfter(db: IndexDb, after: string | undefined): Generator<string> {
  const states = [codes.due, codes.running, codes.held, codes.failed];
  for (let last = after; ; ) {
    const next = states.flatMap((state) => {
      const start = last === undefined ? [state] : [state, last, Number.POSITIVE_INFINITY];
      return [...keysIn(db, { start, end: [state + 1] }, 1)].map((key) => key[1]);
    });
    if (next.length === 0) return;
    last = next.reduce((least, name) => (Buffer.compare(Buffer.from(name), Buffer.from(least)) < 0 ? name : least));
    yield last;
  }
}

/** How many jobs of a lane are in a state; `until`: due by then. */
export function countIn(db: IndexDb, state: JobState, lane: string, until?: number): number {
  const { start, end } = stateRange(state, lane);
  return db.getKeysCount({ start, end: until === undefined ? end : [codes[state], lane, until + 1] });
}
