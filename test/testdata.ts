import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * The folder of a suite of vectors that lies beside the repository, or undefined where it is absent, as on a user's clone: its tests then skip,
 * and say so in their titles. With CI set it throws instead: there the suites lie beside the clone, and a silent skip would prove nothing.
 */
export function testdata(suite: string): string | undefined {
  const folder = fileURLToPath(new URL(`../../shared/testdata/${suite}/`, import.meta.url));
  if (existsSync(folder)) return folder;
  if (process.env['CI'] !== undefined) throw new Error(`../shared/testdata/${suite} is absent; CI must try it`);
  return undefined;
}
