import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDisk } from '../../../node/store/disk.ts';
import { dump, killMoments } from './kill-dump.ts';

const child = fileURLToPath(new URL('./kill-child.ts', import.meta.url));
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'epost-kill-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** The states that the child saw, and how it ended. */
function run(folder: string, ...death: readonly string[]): Promise<{ states: string[]; signal: unknown }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [child, folder, ...death], (error, stdout) => {
      resolve({ states: stdout.split('\n').slice(0, -1), signal: error?.signal });
    });
  });
}

/** What lies in a folder, when it is opened again: every block whole, and every account as its leases add up. */
async function found(folder: string): Promise<string> {
  const disk = await openDisk(folder);
  try {
    for (const key of disk.blocks.page(undefined, 100))
      expect(await disk.blocks.get(key)).toMatchObject({ kind: 'block' });
    const state = dump(disk);
    expect(await disk.blocks.recount()).toBe(0);
    return state;
  } finally {
    await disk.close();
  }
}

describe('a node that is killed at any commit', { timeout: 120_000 }, () => {
  it('finds what was there before it or after it, and what was acknowledged', async () => {
    const whole = path.join(dir, 'whole');
    const { states, signal } = await run(whole);
    expect(signal).toBeUndefined();
    expect(new Set(states).size).toBe(8);
    expect(await found(whole)).toBe(states.at(-1));
    const empty = await found(path.join(dir, 'empty'));
    const after = (commit: number): string => states[commit] ?? 'never';
    const before = (commit: number): string => states[commit - 1] ?? empty;
    for (const commit of states.keys()) {
      const left = await Promise.all(
        killMoments.map(async (moment) => {
          const folder = path.join(dir, `${commit} ${moment}`);
          const ended = await run(folder, `${commit}`, moment);
          // Whoever died while it was written may have seen it succeed.
          expect([moment, ended.signal, ended.states.slice(0, commit)]).toEqual([
            moment,
            'SIGKILL',
            states.slice(0, commit),
          ]);
          return { moment, acked: ended.states.length, state: await found(folder) };
        }),
      );
      const at = (moment: string) => left.find((one) => one.moment === moment);
      expect(at('before')?.state).toBe(before(commit));
      expect(at('within')?.state).toBe(before(commit));
      expect([before(commit), after(commit)]).toContain(at('while it is written')?.state);
      if ((at('while it is written')?.acked ?? 0) > commit)
        expect(at('while it is written')?.state).not.toBe(before(commit));
      expect(at('after')?.state).toBe(after(commit));
    }
  });
});
