import { describe, expect, it } from 'vitest';
import { desktops } from './churn.ts';
import { runStore, type StoreRun } from './store-run.ts';

const small: StoreRun = {
  seed: 1,
  nodes: 60,
  blocks: 60,
  writers: 4,
  hours: 4,
  copies: 3,
  churn: desktops,
  mesh: { kind: 'full' },
};

// Minutes where the machine is loaded: virtual time costs real work.
describe('the simulated ring', { timeout: 120_000 }, () => {
  it('gives the same figures for the same seed, and others for another', async () => {
    const first = await runStore(small);
    expect(await runStore(small)).toEqual(first);
    expect(await runStore({ ...small, seed: 2 })).not.toEqual(first);
  });

  it.each([3, 4])('loses no block while machines come back, seed %i', async (seed) => {
    const figures = await runStore({ ...small, seed, churn: { ...desktops, forGood: 0 } });
    expect([figures.lost, figures.gone]).toEqual([0, 0]);
  });

  it('has stand-ins for blocks whose nearest holders are all down', async () => {
    const figures = await runStore({ ...small, seed: 5, hours: 12 });
    expect(figures.nearestAllDown).toBeGreaterThan(0);
    expect(figures.noneUp).toBeLessThan(figures.nearestAllDown);
  });

  it('loses no log, no record and no block where keys are looked up, and gives the same figures for the same seed', async () => {
    const routed: StoreRun = { ...small, writers: 10, hours: 0.5, seed: 6, mesh: { kind: 'routed' } };
    const figures = await runStore(routed);
    expect(await runStore(routed)).toEqual(figures);
    const { logs } = figures;
    expect(logs.appended).toBeGreaterThan(10);
    expect([figures.lost, logs.lost, logs.forked, logs.recordsLost]).toEqual([0, 0, 0, 0]);
    expect(figures.lookupBytes).toBeGreaterThan(0);
    expect((await runStore({ ...routed, mesh: { kind: 'full' } })).lookupBytes).toBe(0);
  });

  it('loses logs, and records, when their holders go for good: the checks of loss can fail', async () => {
    const churn = { sessionHours: 0.5, downHours: 2, forGood: 1 };
    const { logs } = await runStore({ ...small, hours: 1, writers: 20, copies: 1, churn });
    expect(logs.lost + logs.recordsLost).toBeGreaterThan(0);
  });

  it('loses blocks when nobody is left to repair: the check of loss can fail', async () => {
    // A fifth is up in the beginning, and goes for good one after the other.
    const churn = { sessionHours: 0.5, downHours: 2, forGood: 1 };
    expect((await runStore({ ...small, copies: 1, churn })).lost).toBeGreaterThan(0);
  });
});
