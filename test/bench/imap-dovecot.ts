// The same IMAP commands, by the same client over TLS, to Dovecot (Maildir, its own way to sync) and to a node of ours (one node, on disk), one after the
// other in one run, each server in processes of its own. Needs dovecot-imapd, and root to start it.
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { findProgram } from '../needs.ts';
import { ImapChild } from '../node/access/imap-child.ts';
import { startDovecot } from './imap/dovecot.ts';
import { type Measured, measure, type Server, shown } from './imap/measure.ts';

const size = { count: Number(process.env['EPOST_BENCH_MESSAGES'] ?? 100_000), distinct: 2_000 };

async function measured(server: Server): Promise<Measured> {
  try {
    return await measure(server, size);
  } finally {
    await server.stop();
  }
}

async function theirs(program: string): Promise<Measured> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'epost-dovecot-'));
  // Dovecot's own users go in there.
  execFileSync('chmod', ['755', dir]);
  try {
    return await measured(await startDovecot(program, dir));
  } catch (cause) {
    const log = await readFile(path.join(dir, 'log'), 'utf8').catch(() => '');
    throw new Error(`Dovecot: ${String(cause)}\n${log.slice(-2_000)}`, { cause });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function row(...cells: readonly string[]): void {
  console.log(`  ${cells.map((cell, index) => (index === 0 ? cell.padEnd(36) : cell.padStart(12))).join(' ')}`);
}

const program = findProgram('dovecot');
if (program === undefined || process.getuid?.() !== 0) {
  console.log('imap-dovecot: skipped, as it needs dovecot-imapd, and root to start it');
} else {
  const dovecot = await theirs(program);
  const ours = await measured(await ImapChild.start());
  row('over TLS', 'Dovecot', 'ours', 'as fast', 'CPU: Dovecot', 'ours', 'as cheap');
  for (const [index, figure] of dovecot.figures.entries()) {
    const own = ours.figures[index];
    if (own === undefined) continue;
    const [speed, cpu] = shown(figure);
    const [ownSpeed, ownCpu] = shown(own);
    row(figure.what, speed, ownSpeed, (figure.ms / own.ms).toFixed(2), cpu, ownCpu, (figure.cpu / own.cpu).toFixed(2));
  }
  for (const [what, kind] of [
    ['memory (PSS), MiB', 'pss'],
    ['of that not of files, MiB', 'anonymous'],
  ] as const)
    row(what, dovecot.memory[kind].toFixed(0), ours.memory[kind].toFixed(0));
}
