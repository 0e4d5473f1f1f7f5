/** The start of an owner: what the one before it left. */
import type { BodyFiles } from './body-files.ts';
import type { SetbackDelays } from './course.ts';
import { type IndexKey, keysIn, stateRange } from './embedded-index.ts';
import { becomeOwner } from './embedded-owner.ts';
import type { EmbeddedStore } from './embedded-store.ts';
import type { QueueLog } from './queue.ts';
import { ended } from './transitions.ts';

export interface TakeOverOptions {
  readonly now: () => number;
  readonly log: QueueLog;
  readonly delays: SetbackDelays;
}

/** More would only be memory. */
const perCommit = 500;

/** What the last owner was doing when it died is due again. */
export async function takeOver(store: EmbeddedStore, bodies: BodyFiles, options: TakeOverOptions): Promise<void> {
  await becomeOwner(store);
  const orphans = await bodies.sweep((name) => store.isFileUsed(name));
  const running = [...keysIn(store.index, stateRange('running'), 100_000)];
  const takeUp = async (key: IndexKey): Promise<void> => {
    const found = store.find(key[3]);
    if (found.kind !== 'record') return store.setAside(key);
    const crash = { kind: 'crashed', why: 'the process ended during the attempt' } as const;
    const change = await store.change(key[3], ended(crash, found.record.startedAt ?? 0, options.now(), options.delays));
    if (change?.after.state === 'failed') options.log.error({ job: key[3] }, 'a job was set aside after crashes');
  };
  // Some hundreds were running: together, so that they share a commit.
  for (let from = 0; from < running.length; from += perCommit)
    await Promise.all(running.slice(from, from + perCommit).map(takeUp));
  if (running.length + orphans > 0) {
    options.log.info({ jobs: running.length, orphans }, 'took over unfinished jobs, deleted orphaned bodies');
  }
}
