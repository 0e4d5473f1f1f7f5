import { describe, expect, it } from 'vitest';
import { desktops } from './churn.ts';
import { type LookupRun, runLookups } from './lookup-run.ts';

const small: LookupRun = { seed: 1, nodes: 300, minutes: 10, lookups: 60, observed: 10, liars: 0, churn: desktops };

// Minutes where the machine is loaded: virtual time costs real work.
describe('lookups in the simulated ring', { timeout: 120_000 }, () => {
  it('give the same figures for the same seed, and others for another', async () => {
    const first = await runLookups(small);
    expect(await runLookups(small)).toEqual(first);
    expect(await runLookups({ ...small, seed: 2 })).not.toEqual(first);
  });

  it('find the nearest with a third of the machines away, and with a quarter of the others lying', async () => {
    // Sixty lookups are few: four seeds together say more than one.
    for (const liars of [0, 0.25]) {
      const runs = await Promise.all([1, 2, 3, 4].map((seed) => runLookups({ ...small, seed, liars })));
      const right = runs.reduce((sum, run) => sum + run.right, 0) / runs.length;
      expect(right).toBeGreaterThan(0.97);
    }
  });

  it('find less when nearly all are away: the check of rightness can fail', async () => {
    const churn = { ...desktops, sessionHours: 1, downHours: 50 };
    expect((await runLookups({ ...small, nodes: 1_000, observed: 1, churn })).right).toBeLessThan(0.9);
  });
});
