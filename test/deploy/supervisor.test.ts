import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';

it('a reload while a part is starting does not end it, and is heard when it is ready', () => {
  const program = path.join(import.meta.dirname, 'supervised-program.ts');
  const { stdout, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8' });
  expect(stdout).toBe('ready\n');
  expect(stderr).toContain('read again\n');
});
