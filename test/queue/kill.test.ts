import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { openBullQueue } from '../../queue/bullmq.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import type { Queue } from '../../queue/queue.ts';
import { job, until } from './contract.ts';
import { quick, recordingLog } from './quick.ts';
import { redisMissing, startRedis } from './redis-server.ts';

const common = { now: Date.now, log: recordingLog([]), setbackDelays: quick };
const rounds = 6;

interface Printed {
  acked: string[];
  worked: string[];
}

/** Runs the child and kills it; the lines it printed are added to `printed`. */
async function runAndKill(kind: string, place: string, round: number, printed: Printed): Promise<void> {
  const args = [join(import.meta.dirname, 'kill-child.ts'), kind, place, String(round)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  await until('the child works', () => output.includes('worked'));
  await sleep(Math.random() * 300);
  // Its output at its end and itself reaped: until then its process id counts as alive.
  const ended = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGKILL');
  await ended;
  // Without the last line, which may be cut.
  for (const line of output.split('\n').slice(0, -1)) {
    const [word, id = ''] = line.split(' ');
    if (word === 'acked') printed.acked.push(id);
    if (word === 'worked') printed.worked.push(id);
  }
}

async function finishAndCheck(queue: Queue, printed: Printed): Promise<void> {
  queue.work({ match: () => true, concurrency: 8, perLane: 4 }, async ({ id }) => {
    printed.worked.push(id);
    return { kind: 'done', why: 'ok' };
  });
  await until('nothing waits', async () => {
    const { due, running } = await queue.counts();
    return due + running === 0;
  });
  const worked = new Set(printed.worked);
  expect(printed.acked.length).toBeGreaterThan(rounds * 5);
  expect(printed.acked.filter((id) => !worked.has(id))).toEqual([]);
  expect((await queue.counts()).failed).toBe(0);
  // At most what ran at a kill is worked again: concurrency, each time.
  expect(printed.worked.length - worked.size).toBeLessThanOrEqual(rounds * 8);
}

describe('kill -9 at random moments', () => {
  test('loses nothing that the embedded queue acknowledged', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'epost-kill-'));
    const printed: Printed = { acked: [], worked: [] };
    for (let round = 0; round < rounds; round += 1) await runAndKill('embedded', dir, round, printed);
    const queue = await openEmbeddedQueue({ ...common, dir, role: 'owner' });
    await finishAndCheck(queue, printed);
    await queue.close();
    await rm(dir, { recursive: true });
  });

  const missing = redisMissing();
  test.skipIf(missing)('loses nothing that the Redis queue acknowledged', async () => {
    const server = await startRedis();
    const printed: Printed = { acked: [], worked: [] };
    for (let round = 0; round < rounds; round += 1) await runAndKill('bullmq', server.url, round, printed);
    const options = { ...common, url: server.url, name: 'kill', random: Math.random, takeOverMs: 500 };
    const queue = await openBullQueue(options);
    await finishAndCheck(queue, printed);
    await queue.close();
    await server.stop();
  });

  test('while another process owns the embedded queue, a guest looks and steers, and nobody else becomes owner', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'epost-guest-'));
    const first = await openEmbeddedQueue({ ...common, dir, role: 'owner' });
    await first.add([job('mine', { dueAt: Date.now() + 3_600_000 })]);
    await first.close();
    const args = [join(import.meta.dirname, 'kill-child.ts'), 'embedded', dir, 'g'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    await until('the child works', () => output.includes('worked'));
    await expect(openEmbeddedQueue({ ...common, dir, role: 'owner' })).rejects.toMatchObject({ code: 'queue-owned' });
    const guest = await openEmbeddedQueue({ ...common, dir, role: 'guest' });
    expect((await guest.get('mine'))?.state).toBe('due');
    expect(await guest.retry('mine')).toBe(true);
    await until('the owner noticed', async () => (await guest.get('mine'))?.state === 'done');
    expect(output).toContain('worked mine');
    await guest.close();
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('close', resolve));
    await rm(dir, { recursive: true });
  });
});
