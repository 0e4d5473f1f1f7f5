import { keepCompiled } from '../compile-cache.ts';
import type { PartOptions } from '../process/part.ts';
import { type Command, exitCodes, type Given } from './line.ts';
import { homeOf, passphraseFileOf, setupOptions } from './options.ts';
import { print, printJson } from './screen.ts';
import { overridesIn } from './start.ts';

type Run = (options: PartOptions) => Promise<number>;

// Loaded when it is run: what a node needs takes half a second to load, which `epost trace` should not wait for.
function runPart(role: string, load: () => Promise<Run>): Command['run'] {
  return async (given: Given) => {
    const run = await load();
    const code = await run({
      folder: homeOf(given.values, process.env),
      overrides: overridesIn(given),
      passphraseFile: passphraseFileOf(given.values, process.env),
      onReady: (listens) => {
        sayListens(role, listens, given);
        keepCompiled();
      },
    });
    return code === 0 ? exitCodes.done : code;
  };
}

/** Under a supervisor nothing is printed: it speaks for both. */
export function sayListens(role: string, listens: Readonly<Record<string, string>>, given: Given): void {
  if (process.send !== undefined) return;
  if (given.switches.has('json')) printJson({ ready: true, role, ...listens });
  else
    print(
      [`the ${role} is ready`, ...Object.entries(listens).map(([name, place]) => `  ${name.padEnd(12)}${place}`)].join(
        '\n',
      ),
    );
}

export const node: Command = {
  name: 'node',
  summary: 'run the POST node of a home alone, with its users’ IMAP and submission',
  positionals: [],
  options: setupOptions,
  run: runPart('node', async () => (await import('../process/node-process.ts')).runNode),
};

export const gateway: Command = {
  name: 'gateway',
  summary: 'run the gateway of a home alone; its node must run too',
  positionals: [],
  options: setupOptions,
  run: runPart('gateway', async () => (await import('../process/gateway-process.ts')).runGateway),
};
