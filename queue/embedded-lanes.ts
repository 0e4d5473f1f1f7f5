/** What lanes there are and how they do. */
import { setImmediate as breath } from 'node:timers/promises';
import { countIn, headOf, keysIn, lanesAfter, stateRange } from './embedded-index.ts';
import type { EmbeddedStore } from './embedded-store.ts';
import type { AttemptRecord, LaneFacts } from './queue.ts';

/** A lane's waiting jobs whose attempts are looked at for the newest. */
const looked = 20;
/** Counting walks over keys: some ms at a time. */
const lanesAtOnce = 50;

export async function laneFacts(store: EmbeddedStore, now: number, limit: number): Promise<LaneFacts[]> {
  const found: LaneFacts[] = [];
  for (let more = true; more && found.length < limit; ) {
    store.refresh();
    const page: LaneFacts[] = [];
    for (const lane of lanesAfter(store.index, found.at(-1)?.lane)) {
      page.push(factsOf(store, lane, now));
      if (page.length === lanesAtOnce || found.length + page.length === limit) break;
    }
    found.push(...page);
    more = page.length === lanesAtOnce;
    if (more) await breath();
  }
  return found;
}

function factsOf(store: EmbeddedStore, lane: string, now: number): LaneFacts {
  const { index } = store;
  const nextAt = headOf(index, lane)?.[2];
  const last = newestAttempt(store, lane);
  return {
    lane,
    due: countIn(index, 'due', lane),
    ready: countIn(index, 'due', lane, now),
    running: countIn(index, 'running', lane),
    held: countIn(index, 'held', lane),
    failed: countIn(index, 'failed', lane),
    ...(nextAt === undefined ? {} : { nextAt }),
    ...(last === undefined ? {} : { last }),
  };
}

function newestAttempt(store: EmbeddedStore, lane: string): AttemptRecord | undefined {
  let newest: AttemptRecord | undefined;
  for (const state of ['running', 'due', 'held', 'failed'] as const) {
    for (const key of keysIn(store.index, stateRange(state, lane), looked)) {
      const found = store.find(key[3]);
      const last = found.kind === 'record' ? found.record.attempts.at(-1) : undefined;
      if (last !== undefined && last.at >= (newest?.at ?? 0)) newest = last;
    }
  }
  return newest;
}
