import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

// Debian keeps postfix's programs in sbin, which is not on every user's PATH.
const extraFolders = ['/usr/sbin', '/usr/local/sbin', '/sbin'];

/** Where a program of this name lies, or undefined where it is not installed. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(path.delimiter), ...extraFolders];
  return folders.map((folder) => path.join(folder, name)).find(isExecutable);
}

/** The path of a program that a test is sure to have, because it asked {@link missing} first. */
export function program(name: string): string {
  const found = findProgram(name);
  if (found === undefined) throw new Error(`${name} is not installed`);
  return found;
}

/**
 * The real peers among `names` that this machine lacks, as the reason to skip a test; undefined where all are there.
 * With CI set it throws instead: there everything must be installed, and a silent skip would prove nothing.
 */
export function missing(...names: readonly string[]): string | undefined {
  return reason(names.filter((name) => findProgram(name) === undefined));
}

let python: string | undefined;

/** The same for modules of Python 3, such as `dkim`; the interpreter that has them is then what {@link pythonPath} says. */
export function missingPython(...modules: readonly string[]): string | undefined {
  // The system's interpreter first: it is the one that sees Debian's modules.
  const interpreters = ['/usr/bin/python3', findProgram('python3')].filter((found) => found !== undefined);
  python = interpreters.find((one) => spawnSync(one, ['-c', `import ${modules.join(', ')}`]).status === 0);
  return reason(python === undefined ? [`python3 with ${modules.join(' and ')}`] : []);
}

export function pythonPath(): string {
  if (python === undefined) throw new Error('ask missingPython first');
  return python;
}

function reason(absent: readonly string[]): string | undefined {
  if (absent.length === 0) return undefined;
  const text = `not installed: ${absent.join(', ')}`;
  if (process.env['CI'] !== undefined) throw new Error(`${text}; CI must try it (see .ci/run)`);
  return text;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
