#!/usr/bin/env node
// `epost` as a command. The sources are TypeScript that Node 24 runs as it is; on an older Node this starts the pinned one.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('./epost.ts', import.meta.url));
if (Number(process.versions.node.split('.')[0]) >= 24) {
  await import('./epost.ts');
} else {
  const pinned = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
  if (!existsSync(pinned)) {
    process.stderr.write('epost: needs Node 24 or later; run `npm run setup` in its folder once, which brings it\n');
    process.exit(1);
  }
  const child = spawn(pinned, [program, ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(signal === null ? (code ?? 1) : 1));
}
