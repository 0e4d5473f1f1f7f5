/** Listing jobs without holding up the others: pages, with a breath between them. */
import { setImmediate as breath } from 'node:timers/promises';
import { type IndexKey, keysIn, stateRange } from './embedded-index.ts';
import type { EmbeddedStore } from './embedded-store.ts';
import { aboutMatches } from './job-limits.ts';
import { type JobRecord, jobOf } from './job-record.ts';
import type { Job, JobFilter, JobState } from './queue.ts';

/** About 2 ms of reading and decoding at a time. */
const pageSize = 500;

const order: readonly JobState[] = ['running', 'due', 'held', 'failed', 'done'];

function matches(record: JobRecord, filter: JobFilter): boolean {
  return (filter.lane === undefined || record.lane === filter.lane) && aboutMatches(record.about, filter.about);
}

/** Up to `limit` jobs by state, lane and time. A damaged record is left out here; whoever works its lane sets it aside. */
export async function listJobs(store: EmbeddedStore, filter: JobFilter, closed: () => boolean): Promise<Job[]> {
  const found: Job[] = [];
  for (const state of filter.state === undefined ? order : [filter.state]) {
    const range = stateRange(state, filter.lane);
    let after: IndexKey | undefined;
    for (let more = true; more && found.length < filter.limit && !closed(); ) {
      store.refresh();
      const start = after === undefined ? range.start : [...after, ''];
      const keys = [...keysIn(store.index, { ...range, start }, pageSize)];
      collect(store, keys, filter, found);
      after = keys.at(-1);
      more = keys.length === pageSize;
      if (more) await breath();
    }
  }
  return found;
}

function collect(store: EmbeddedStore, keys: readonly IndexKey[], filter: JobFilter, found: Job[]): void {
  for (const key of keys) {
    if (found.length >= filter.limit) return;
    const job = store.find(key[3]);
    if (job.kind === 'record' && matches(job.record, filter)) found.push(jobOf(job.record, new Uint8Array()));
  }
}
