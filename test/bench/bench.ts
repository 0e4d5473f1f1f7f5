import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

// `npm run bench`: every bench of this folder, one after the other, each in a process of its own, so that none pays for
// another's memory or warmed-up code; then one table of what they said. `npm run bench -- NAME…` runs only those.
const folder = path.dirname(fileURLToPath(import.meta.url));

// The longest takes some two minutes on two cores.
const limitMs = 15 * 60_000;

interface Ran {
  readonly name: string;
  readonly failed: boolean;
  readonly lines: readonly string[];
}

function run(name: string): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [path.join(folder, `${name}.ts`)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
    let text = '';
    child.stdout.on('data', (part: Buffer) => {
      text += part.toString();
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ name, failed: code !== 0, lines: text.split('\n') });
    });
  });
}

/**
 * What a bench said as rows of figures: a line of text has its name first, then two blanks, then the figures;
 * `console.table` draws columns. Headings, which have no figures, are left out.
 */
function rowsOf({ name, lines }: Ran): string[][] {
  return lines
    .map((line) => line.split(/│| {2,}/).map((part) => part.trim().replaceAll(/^'|'$/g, '')))
    .map((parts) => parts.filter((part) => part !== ''))
    .filter(([, ...figures]) => figures.some((figure) => /\d/.test(figure)))
    .map(([what = '', ...figures]) => [name, what, figures.join('  ')]);
}

/** A table that reads well on a screen and can be put into the README as it is. */
function markdownTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width)).join(' | ')} |`;
  return [line(headings), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

function machine(): string {
  const [cpu] = os.cpus();
  const disk = spawnSync('df', ['-T', os.tmpdir()], { encoding: 'utf8' }).stdout?.trim().split('\n').at(-1);
  const kind = disk?.split(/\s+/)[1] ?? 'unknown';
  const memory = Math.round(os.totalmem() / 2 ** 30);
  return `${os.cpus().length} cores ${cpu?.model ?? ''}, ${memory} GiB, ${kind}, ${os.type()} ${os.release().split('-')[0]}, Node ${process.versions.node}`;
}

async function main(): Promise<number> {
  const asked = process.argv.slice(2);
  const all = readdirSync(folder)
    .filter((file) => file.endsWith('.ts') && file !== 'bench.ts')
    .map((file) => file.replace(/\.ts$/, ''))
    .sort();
  const names = asked.length === 0 ? all : all.filter((name) => asked.includes(name));
  const ran: Ran[] = [];
  for (const name of names) {
    process.stderr.write(`${name} …\n`);
    ran.push(await run(name));
  }
  process.stdout.write(`${machine()}\n\n${markdownTable(['bench', 'what', 'figures'], ran.flatMap(rowsOf))}\n`);
  const failed = ran.filter((one) => one.failed).map(({ name }) => name);
  if (failed.length > 0) process.stdout.write(`\nFAILED: ${failed.join(', ')}\n`);
  return failed.length === 0 && names.length > 0 ? 0 : 1;
}

process.exitCode = await main();
