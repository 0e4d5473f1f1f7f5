import { useCompileCache } from './compile-cache.ts';

// Before anything else is loaded.
useCompileCache();
const { runProgram } = await import('./command/program.ts');
const { commands } = await import('./command/table.ts');

process.exitCode = await runProgram(commands, process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
