/** Tidying an embedded queue in the background: in pages, so that others' transactions come in between. */
import { setImmediate as breath } from 'node:timers/promises';
import { type IndexKey, keysIn, stateRange } from './embedded-index.ts';
import type { EmbeddedStore } from './embedded-store.ts';
import type { JobRecord } from './job-record.ts';
import type { JobState, Keeping } from './queue.ts';
import { aged, overdue } from './upkeep.ts';

const pageSize = 500;

async function* pages(store: EmbeddedStore, state: JobState, closed: () => boolean): AsyncGenerator<IndexKey[]> {
  const range = stateRange(state);
  for (let after: IndexKey | undefined; !closed(); ) {
    store.refresh();
    const page = [
      ...keysIn(store.index, { ...range, start: after === undefined ? range.start : [...after, ''] }, pageSize),
    ];
    if (page.length > 0) yield page;
    if (page.length < pageSize) return;
    after = page.at(-1);
    await breath();
  }
}

/** Ends or drops what is older than it may be, in every state; each job that was changed is told to `changed`. */
export async function endOverdue(
  store: EmbeddedStore,
  keeping: Keeping,
  now: number,
  closed: () => boolean,
  changed: (job: JobRecord, unused: readonly string[]) => Promise<void>,
): Promise<void> {
  for (const state of ['held', 'due', 'failed'] as const) {
    for await (const page of pages(store, state, closed)) {
      for (const key of page) {
        const found = store.find(key[3]);
        if (found.kind !== 'record' || overdue(found.record, keeping, now) === 'keep') continue;
        const change = await store.change(key[3], aged(keeping, now));
        if (change !== undefined) await changed(change.after, change.unused);
      }
    }
  }
}

/** The clock was set back by so much: what waits for a time after `now` waits as long as it would have. */
export async function followClock(
  store: EmbeddedStore,
  backMs: number,
  now: number,
  closed: () => boolean,
): Promise<void> {
  const late: IndexKey[] = [];
  for await (const page of pages(store, 'due', closed)) late.push(...page.filter((key) => key[2] > now));
  for (let at = 0; at < late.length && !closed(); at += pageSize) {
    await store.bringForward(late.slice(at, at + pageSize), backMs);
    await breath();
  }
}
