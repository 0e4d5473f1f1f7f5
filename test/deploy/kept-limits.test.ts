import { spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeptLimits, type KeptLimitsOptions } from '../../deploy/process/kept-limits.ts';

const rate = { amount: 1, perMs: 3_600_000, burst: 1 };

describe('the limits of senders', () => {
  let parent: string;
  let folder: string;
  let faults: unknown[];
  beforeEach(() => {
    parent = mkdtempSync(path.join(os.tmpdir(), 'epost-limits-'));
    folder = path.join(parent, 'limits');
    faults = [];
  });
  afterEach(() => rmSync(parent, { recursive: true, force: true }));

  const kept = (now: () => number, more: Partial<KeptLimitsOptions> = {}): KeptLimits =>
    new KeptLimits({ folder, now, onFault: (fault) => faults.push(fault), ...more });
  const written = (): string =>
    readdirSync(folder)
      .map((name) => readFileSync(path.join(folder, name), 'utf8'))
      .join('');

  it('outlive a restart', async () => {
    const first = kept(() => 1_000);
    first.limits.take('a', 1, rate, 1_000);
    await first.stop();
    expect(written()).toContain('"a"');
    const second = kept(() => 2_000);
    expect(second.limits.take('a', 1, rate, 2_000).kind).toBe('over');
    await second.stop();
    expect(faults).toEqual([]);
  });

  it('are written down by themselves, soon, and a line that a crash cut is passed over', async () => {
    const first = kept(() => 1_000);
    first.limits.take('a', 1, rate, 1_000);
    await expect
      .poll(() => readdirSync(folder).length === 1 && written().includes('"a"'), { timeout: 10_000 })
      .toBe(true);
    const [name = ''] = readdirSync(folder);
    appendFileSync(path.join(folder, name), '["b",99999999\n["c",9');
    const second = kept(() => 2_000);
    expect(second.limits.take('a', 1, rate, 2_000).kind).toBe('over');
    expect(second.limits.take('c', 1, rate, 2_000).kind).toBe('within');
    await Promise.all([first.stop(), second.stop()]);
  });

  it('survive kill -9 but for the last moments', async () => {
    const program = `
      import { KeptLimits } from ${JSON.stringify(path.resolve('deploy/process/kept-limits.ts'))};
      const kept = new KeptLimits({ folder: ${JSON.stringify(folder)}, now: Date.now, onFault: (fault) => { throw fault; } });
      kept.limits.take('a', 1, { amount: 1, perMs: 3_600_000, burst: 1 }, Date.now());
      setInterval(() => undefined, 1_000);`;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    try {
      await expect
        .poll(
          () => {
            try {
              return written().includes('"a"');
            } catch {
              return false;
            }
          },
          { timeout: 30_000 },
        )
        .toBe(true);
    } finally {
      child.kill('SIGKILL');
    }
    const second = kept(Date.now);
    expect(second.limits.take('a', 1, rate, Date.now()).kind).toBe('over');
    await second.stop();
  });

  it('are in one journal of bounded length, however much is taken, and the newest of each is what counts', async () => {
    const generous = { amount: 1_000, perMs: 3_600_000, burst: 1_000 };
    const limits = kept(() => 1_000, { maxBuckets: 100, maxJournalBytes: 20_000 });
    for (let round = 0; round < 20; round += 1) {
      for (let n = 0; n < 200; n += 1) limits.limits.take(`k${n}`, 1, generous, 1_000);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    await limits.stop();
    const names = readdirSync(folder);
    expect(names).toHaveLength(1);
    expect(statSync(path.join(folder, names[0] ?? '')).size).toBeLessThan(60_000);
    const again = kept(() => 1_000, { maxBuckets: 100 });
    expect(again.limits.size).toBe(100);
    for (const key of limits.limits.keys()) expect(again.limits.fullAt(key)).toBe(limits.limits.fullAt(key));
    await again.stop();
  });

  it('a disk that does not take them is told of, and ends nothing', async () => {
    writeFileSync(path.join(parent, 'file'), '');
    folder = path.join(parent, 'file', 'limits');
    const limits = kept(() => 1_000);
    limits.limits.take('a', 1, rate, 1_000);
    await limits.stop();
    expect(faults.length).toBeGreaterThanOrEqual(1);
    expect(limits.limits.take('a', 1, rate, 1_000).kind).toBe('over');
  });
});
