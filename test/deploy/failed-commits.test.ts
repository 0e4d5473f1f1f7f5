import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const guard = new URL('../../deploy/process/failed-commits.ts', import.meta.url).href;
const lmdb = import.meta.resolve('lmdb');

/** Runs a process in which no file can grow beyond 400 KiB; how it ended and what it said. */
function run(script: string): { code: number | null; out: string; err: string } {
  const text = `
    import { outliveFailedCommits } from ${JSON.stringify(guard)};
    outliveFailedCommits({ error: (_fields, message) => console.log(message) });
    ${script}
    setTimeout(() => console.log('alive'), 50);`;
  const limited = ['-c', 'ulimit -f 800; exec "$0" --input-type=module -e "$1"', process.execPath, text];
  const { status, stdout, stderr } = spawnSync('/bin/sh', limited, { encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

describe('a commit that fails', () => {
  it('is told to its maker and to the log, and the process goes on', () => {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'epost-commits-'));
    try {
      const { code, out } = run(`
        import { open } from ${JSON.stringify(lmdb)};
        const db = open({ path: ${JSON.stringify(path.join(dir, 'full'))}, encoding: 'binary', overlappingSync: false });
        let failed = 0;
        for (let i = 0; i < 400 && failed < 3; i += 1)
          await db.put(String(i), Buffer.alloc(3000)).catch(() => { failed += 1; });
        console.log('failed', failed);`);
      expect(out).toContain('failed 3');
      expect(out).toContain('a write to the disk failed');
      expect(out).toContain('alive');
      expect(code).toBe(0);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});

describe('any other rejection without an owner', () => {
  it.each([
    ['an error', `Promise.reject(new Error('a bug'));`],
    ['something that is no error', `Promise.reject('a bug');`],
    ['an error with a code of Node’s', `Promise.reject(Object.assign(new Error('a bug'), { code: 'ENOSPC' }));`],
  ])('ends the process: %s', (_why, script) => {
    const { code, out, err } = run(script);
    expect(code).not.toBe(0);
    expect(out).not.toContain('alive');
    expect(err).toContain('a bug');
  });
});
