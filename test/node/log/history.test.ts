import fc from 'fast-check';
import { expect, it } from 'vitest';
import { grow } from '../../../node/log/growth.ts';
import type { Log, LogStore } from '../../../node/log/log.ts';
import { emptyState, encodeState, type LogState, maxRecent } from '../../../node/log/log-state.ts';
import { StoreFault } from '../../../node/store/fault.ts';
import { maxHeadBodyBytes } from '../../../node/store/head.ts';
import { lease } from '../store/store-ring.ts';
import { all, LogRing, records } from './log-ring.ts';

type Step =
  | { readonly kind: 'append'; readonly count: number }
  | { readonly kind: 'append-without-quorum'; readonly reached: boolean }
  | { readonly kind: 'snapshot' | 'reopen' | 'reopen-on-a-fresh-disk' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 70 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('append-without-quorum' as const), reached: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('snapshot' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('reopen' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen-on-a-fresh-disk' as const) }) },
);

it('any history of appends, failures and reopening leaves what was acknowledged, in order', async () => {
  const ring = await LogRing.of(1);
  let name = 0;
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
        await live(ring, `log ${name++}`, steps);
      }),
      { numRuns: 40 },
    );
  } finally {
    await ring.stop();
  }
});

/** Runs the steps against the log and against an array. `doubts`: records whose append failed since; a reopening may bring one back. */
async function live(ring: LogRing, name: string, steps: readonly Step[]): Promise<void> {
  const { store } = ring.ring.node(0);
  let quorum: 'reached' | 'lost' | 'answer lost' = 'reached';
  const shaky: LogStore = {
    insert: (blocks, lease) => store.insert(blocks, lease),
    fetch: (key) => store.fetch(key),
    getHeads: (key) => store.getHeads(key),
    putHead: async (head) => {
      if (quorum === 'reached') return store.putHead(head);
      if (quorum === 'answer lost') await store.putHead(head);
      throw new StoreFault('quorum', 'as told');
    },
  };
  let disk = ring.freshDisk();
  let log: Log = await ring.open(0, { name, disk, create: true, store: shaky });
  const model: string[] = [];
  let doubts: string[] = [];
  let next = 0;
  for (const one of steps) {
    if (one.kind === 'append') {
      const texts = Array.from({ length: one.count }, () => `record ${next++}`);
      expect(await log.append(records(...texts))).toEqual({ first: model.length });
      model.push(...texts);
      doubts = [];
    } else if (one.kind === 'append-without-quorum') {
      const doubt = `in doubt ${next++}`;
      doubts.push(doubt);
      quorum = one.reached ? 'answer lost' : 'lost';
      await expect(log.append(records(doubt))).rejects.toMatchObject({ code: 'unavailable' });
      quorum = 'reached';
    } else if (one.kind === 'snapshot') {
      await log.saveSnapshot(log.place, Buffer.from(`after ${model.length}`));
      expect((await log.snapshot())?.at.seq).toBe(model.length);
      doubts = [];
    } else {
      await log.close();
      if (one.kind === 'reopen-on-a-fresh-disk') disk = ring.freshDisk();
      log = await ring.open(0, { name, disk, store: shaky });
      const [back] = await all(log, model.length);
      if (back !== undefined) {
        expect(doubts).toContain(back);
        model.push(back);
      }
      doubts = [];
    }
    expect(await all(log)).toEqual(model);
  }
  await log.close();
}

it('a head stays small however long the log is', async () => {
  const secrecy = { kind: 'salted', salt: new Uint8Array(32) } as const;
  let state: LogState = emptyState;
  const batch = Array.from({ length: 5_000 }, (_, index) => Buffer.from(`${index}`));
  for (let round = 0; round < 20; round++) ({ state } = await grow(state, batch, () => 1, secrecy, lease));
  expect(state.end).toMatchObject({ seq: 100_000, numbers: 100_000, height: 100_000 });
  // As full as it can be: every level but the newest record's share.
  const widest: LogState = {
    ...state,
    recent: Array.from({ length: maxRecent }, () => Buffer.alloc(655)),
    levels: Array.from({ length: 5 }, () =>
      Array.from({ length: 31 }, () => ({
        ...(state.levels.flat()[0] ?? never()),
        first: 2 ** 40,
        count: 2 ** 30,
        end: { ...state.end, seq: 2 ** 40, numbers: 2 ** 40, height: 2 ** 40 },
      })),
    ),
  };
  expect(encodeState(state).length).toBeLessThan(20_000);
  expect(encodeState(widest).length).toBeLessThan(maxHeadBodyBytes - 28);
});

function never(): never {
  throw new Error('a log of 100,000 records has groups');
}
