import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBullQueue } from '../../queue/bullmq.ts';
import { openEmbeddedQueue } from '../../queue/embedded.ts';
import type { Queue, Worker } from '../../queue/queue.ts';
import { job, until } from './contract.ts';
import { quick, recordingLog } from './quick.ts';
import { startCutter } from './redis-cutter.ts';
import { type RedisServer, redisMissing, startRedis } from './redis-server.ts';

const common = { now: Date.now, log: recordingLog([]), setbackDelays: quick };
const rule = { match: () => true, concurrency: 1, perLane: 1 };
const laterThenDone: Worker = async ({ attempts }) =>
  attempts.some(({ outcome }) => outcome === 'later')
    ? { kind: 'done', why: 'ok' }
    : { kind: 'later', at: 0, why: 'once more' };

function start(...args: string[]): { child: ChildProcess; said: () => string[]; ended: Promise<unknown> } {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'crash-child.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  return { child, said: () => output.split('\n'), ended: new Promise((resolve) => child.once('close', resolve)) };
}

/** Whatever happened before: the job ends once, as done, and its story makes sense. */
async function endsWell(queue: Queue, isAcked: boolean): Promise<string[]> {
  const [{ added } = { added: false }] = isAcked ? [] : await queue.add([job('1')]);
  queue.work(rule, laterThenDone);
  await until('it is done', async () => (await queue.get('1'))?.state === 'done');
  const { attempts, attemptCount } = (await queue.get('1'))!;
  expect(attempts.map(({ outcome }) => outcome).filter((outcome) => outcome !== 'crashed')).toEqual(['later', 'done']);
  expect(attemptCount).toBe(attempts.length);
  expect(attempts.filter(({ outcome }) => outcome === 'crashed').length).toBeLessThanOrEqual(1);
  // Redis counts a job as done when a worker has met it once more.
  await until('it counts as done', async () => (await queue.counts()).done === 1);
  expect(await queue.counts()).toEqual({ due: 0, running: 0, held: 0, failed: 0, done: 1 });
  return added ? ['added again'] : [];
}

describe('a crash between any two steps', () => {
  // One job: added as begun, later, claimed, done.
  test.each([1, 2, 3, 4].flatMap((at) => [['before', at] as const, ['after', at] as const]))(
    'the embedded queue: %s change %i of the disk',
    async (what, at) => {
      const dir = await mkdtemp(join(tmpdir(), 'epost-crash-'));
      const { said, ended } = start('embedded', dir, what, String(at));
      await ended;
      expect(said()).not.toContain('over');
      const queue = await openEmbeddedQueue({ ...common, dir, role: 'owner' });
      const known = (await queue.get('1')) !== undefined;
      // What was acknowledged is there, and the mark that came with a job is there exactly where the job is.
      if (said().includes('acked')) expect(known).toBe(true);
      expect((await queue.getMark('m')) !== undefined).toBe(known);
      await endsWell(queue, known);
      await queue.close();
      await rm(dir, { recursive: true });
    },
  );

  const missing = redisMissing();
  describe.skipIf(missing)('the Redis queue', () => {
    let redis: RedisServer;
    beforeAll(async () => {
      redis = await startRedis();
    });
    afterAll(() => redis.stop());

    async function lifeCutAt(name: string, at: number, when: 'before' | 'after'): Promise<void> {
      const cutter = await startCutter(redis.url, at, when);
      const options = { ...common, name, random: Math.random, takeOverMs: 300 };
      // Its process is dead from the cut on: nothing of it reaches Redis any more.
      const dying = await openBullQueue({ ...options, url: cutter.url }).catch(() => undefined);
      if (dying !== undefined) {
        dying.work(rule, laterThenDone);
        dying.add([job('1')]).catch(() => undefined);
      }
      const survivor = await openBullQueue({ ...options, url: redis.url });
      await until('it was cut, or is over', async () => {
        return cutter.isCut() || (await survivor.get('1'))?.state === 'done';
      });
      await endsWell(survivor, (await survivor.get('1')) !== undefined);
      // The dead one comes back, with what it still meant to say; nothing changes by that.
      cutter.mend();
      await dying?.close();
      expect((await survivor.counts()).done).toBe(1);
      expect((await survivor.get('1'))?.attempts.filter(({ outcome }) => outcome === 'done')).toHaveLength(1);
      await survivor.close();
      await cutter.close();
    }

    // From the first command after the queue was opened to those after the job was done.
    test('cut off at every command, another takes the job over', async () => {
      const lives = Array.from({ length: 27 }, (_, i) => i + 6).map(async (at) =>
        lifeCutAt(`cut${at}`, at, at % 2 === 0 ? 'before' : 'after'),
      );
      await Promise.all(lives);
    }, 120_000);

    test('a worker that dies in mid attempt: its lease runs out, and another takes over and knows it', async () => {
      const { child, said, ended } = start('bullmq', redis.url, 'hang');
      await until('it works', () => said().includes('worked 0'));
      child.kill('SIGKILL');
      await ended;
      const queue = await openBullQueue({
        ...common,
        url: redis.url,
        name: 'crash',
        random: Math.random,
        takeOverMs: 500,
      });
      expect((await queue.get('1'))?.state).toBe('running');
      await endsWell(queue, true);
      expect((await queue.get('1'))?.attempts[0]).toMatchObject({ outcome: 'crashed' });
      await queue.close();
    });
  });

  test('an embedded worker that dies in mid attempt: the next start takes over and knows it', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'epost-crash-'));
    const { child, said, ended } = start('embedded', dir, 'hang');
    await until('it works', () => said().includes('worked 0'));
    child.kill('SIGKILL');
    await ended;
    const queue = await openEmbeddedQueue({ ...common, dir, role: 'owner' });
    await endsWell(queue, true);
    expect((await queue.get('1'))?.attempts[0]).toMatchObject({ outcome: 'crashed' });
    await queue.close();
    await rm(dir, { recursive: true });
  });
});
