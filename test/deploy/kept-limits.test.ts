import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeptLimits } from '../../deploy/process/kept-limits.ts';

const rate = { amount: 1, perMs: 3_600_000, burst: 1 };

describe('the limits of senders', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'epost-limits-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('outlive a restart', () => {
    const file = path.join(folder, 'limits.json');
    const faults: unknown[] = [];
    const first = new KeptLimits(
      file,
      () => 1_000,
      (fault) => faults.push(fault),
    );
    first.limits.take('a', 1, rate, 1_000);
    first.stop();
    expect(readFileSync(file, 'utf8')).toContain('"a"');
    const second = new KeptLimits(
      file,
      () => 2_000,
      (fault) => faults.push(fault),
    );
    expect(second.limits.take('a', 1, rate, 2_000).kind).toBe('over');
    second.stop();
    expect(faults).toEqual([]);
  });

  it('a disk that does not take them is told of, and ends nothing', () => {
    writeFileSync(path.join(folder, 'file'), '');
    const faults: unknown[] = [];
    const limits = new KeptLimits(
      path.join(folder, 'file', 'limits.json'),
      () => 1_000,
      (fault) => faults.push(fault),
    );
    expect(() => limits.stop()).not.toThrow();
    expect(faults).toHaveLength(1);
  });
});
