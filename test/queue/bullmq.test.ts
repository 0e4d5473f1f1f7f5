import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BullOptions, openBullQueue } from '../../queue/bullmq.ts';
import { BullParking } from '../../queue/bullmq-parking.ts';
import type { Queue } from '../../queue/queue.ts';
import { job, queueContract, until } from './contract.ts';
import { laneContract } from './contract-lanes.ts';
import { troubleContract } from './contract-trouble.ts';
import { quick, recordingLog } from './quick.ts';
import { startCutter } from './redis-cutter.ts';
import { type RedisServer, redisMissing, startRedis } from './redis-server.ts';

const missing = redisMissing();
let count = 0;

describe.skipIf(missing)(missing ? 'the Redis queue (skipped: no redis-server in PATH)' : 'the Redis queue', () => {
  let server: RedisServer;

  beforeAll(async () => {
    server = await startRedis();
  });

  afterAll(async () => {
    await server.stop();
  });

  function open(name: string, url = server.url, options: Partial<BullOptions> = {}): Promise<Queue> {
    const log = recordingLog([]);
    const fixed = { url, name, random: Math.random, log, setbackDelays: quick, takeOverMs: 1_000 };
    return openBullQueue({ now: Date.now, ...fixed, ...options });
  }

  const newHome = async () => {
    count += 1;
    const name = `test${count}`;
    return {
      open: (options = {}) => open(name, server.url, options),
      openGuest: () => open(name),
      async damage(id: string) {
        const redis = new Redis(server.url);
        await redis.hset(`epost:${name}:j-${id}`, 'data', 'rubbish');
        redis.disconnect();
      },
      remove: async () => undefined,
    };
  };
  queueContract(newHome);
  laneContract(newHome);
  troubleContract(newHome, { deepLane: 20_000 });

  test('two gateways share the work, and each job is done once', async () => {
    const worked: string[] = [];
    const [one, two] = [await open('shared'), await open('shared')];
    const rule = { match: () => true, concurrency: 4, perLane: 4 };
    for (const [name, queue] of [['one', one] as const, ['two', two] as const]) {
      queue.work(rule, async ({ id }) => {
        worked.push(`${name} ${id}`);
        await new Promise((resolve) => {
          setTimeout(resolve, 5);
        });
        return { kind: 'done', why: 'ok' };
      });
    }
    await one.add(Array.from({ length: 60 }, (_, i) => job(`${i}`)));
    await until('all are done', async () => (await two.counts()).done === 60);
    expect(new Set(worked.map((line) => line.split(' ')[1])).size).toBe(60);
    expect(worked).toHaveLength(60);
    expect(new Set(worked.map((line) => line.split(' ')[0])).size).toBe(2);
    await one.close();
    await two.close();
  });

  test('jobs of a full lane are parked in one go, past which the others are next, and any gateway calls them back', async () => {
    const queue = await open('parking');
    const redis = new Redis(server.url);
    const parking = (): BullParking => new BullParking(redis, (key) => `epost:parking:${key}`);
    const lanes = ['deep', 'deep', 'other', 'deep', 'other', 'deep'];
    await queue.add(lanes.map((lane, i) => job(`${i}`, { lane })));
    const full = { lane: 'deep', leastMs: 600_000, mostMs: 900_000 };
    expect(await parking().sweepAside([full], Date.now())).toEqual({ lanes: ['deep'], isFull: false });
    expect(await parking().sweepAside([full], Date.now())).toEqual({ lanes: [], isFull: false });
    const worked: string[] = [];
    queue.work({ match: () => true, concurrency: 1, perLane: 1 }, async ({ id }) => {
      worked.push(id);
      return { kind: 'done', why: 'ok' };
    });
    await until('the others are done', async () => (await queue.counts()).done === 2);
    expect(worked).toEqual(['2', '4']);
    expect(await parking().callBack('deep', 1)).toBe(1);
    await until('the oldest is done', async () => (await queue.counts()).done === 3);
    // One that came back by itself is passed over.
    await queue.retry('1');
    await until('it is done', async () => (await queue.counts()).done === 4);
    expect(await parking().callBack('deep', 10)).toBe(2);
    await until('all are done', async () => (await queue.counts()).done === 6);
    expect(worked.slice(2, 4)).toEqual(['0', '1']);
    expect(await parking().callBack('deep', 10)).toBe(0);
    redis.disconnect();
    await queue.close();
  });

  test('while Redis is away nothing is accepted; when it is back, all goes on by itself, and what was attempted is known', async () => {
    const cutter = await startCutter(server.url, -1, 'before');
    const queue = await open('away', cutter.url, { takeOverMs: 300 });
    const [began, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const worked: string[] = [];
    await queue.add([job('1'), job('waiting', { dueAt: Date.now() + 800 })]);
    queue.work({ match: () => true, concurrency: 1, perLane: 1 }, async ({ id }) => {
      worked.push(id);
      began.resolve();
      await go.promise;
      return { kind: 'done', why: 'ok' };
    });
    await began.promise;
    cutter.cut();
    go.resolve();
    expect(await queue.health()).toMatchObject({ ok: false });
    await expect(queue.setMark('m', Buffer.from('x'), Date.now() + 1_000)).rejects.toMatchObject({ code: 'queue-io' });
    cutter.mend();
    await until('both are done', async () => (await queue.counts().catch(() => undefined))?.done === 2, 40_000);
    expect(worked).toEqual(['1', 'waiting']);
    expect((await queue.get('1'))?.attempts.map(({ outcome }) => outcome)).toEqual(['done']);
    expect(await queue.health()).toEqual({ ok: true });
    await queue.close();
    await cutter.close();
  }, 60_000);

  test.each([
    ['appendfsync', 'everysec'],
    ['appendonly', 'no'],
    ['maxmemory-policy', 'allkeys-lru'],
  ])('a Redis that may lose jobs (%s %s) is not healthy', async (setting, value) => {
    const careless = await startRedis({ [setting]: value });
    const queue = await open('careless', careless.url);
    expect(await queue.health()).toMatchObject({ ok: false, why: expect.stringContaining(setting) as string });
    await queue.close();
    await careless.stop();
  });

  test('without Redis, opening fails with a sentence that says so', async () => {
    await expect(open('nowhere', 'redis://127.0.0.1:1')).rejects.toMatchObject({ code: 'queue-io' });
  });
});
