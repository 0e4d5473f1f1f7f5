import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SharedLimits } from '../../deploy/process/shared-limits.ts';
import { Limits, type Rate } from '../../policy/limits.ts';
import { until } from '../queue/contract.ts';
import { type RedisServer, redisMissing, startRedis } from '../queue/redis-server.ts';

const skipped = redisMissing();
let redis: RedisServer;
beforeAll(async () => {
  if (!skipped) redis = await startRedis();
});
afterAll(async () => redis?.stop());

interface Span {
  readonly taken: number;
  readonly start: number;
  readonly end: number;
}

/** What a gateway in a process of its own could take in so many ms. */
async function gateway(url: string, forMs: number, rate: Rate): Promise<{ start(): void; result: Promise<Span> }> {
  const file = path.resolve('test/deploy/limits-child.ts');
  const child: ChildProcess = spawn(process.execPath, [file, url, String(forMs), JSON.stringify(rate)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let out = '';
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.once('exit', () => reject(new Error(`a gateway ended early: ${out}`)));
    child.stdout?.on('data', (part: Buffer) => {
      out += part.toString();
      if (out.includes('ready')) resolve();
    });
  });
  return {
    start: () => void child.stdin?.write('go\n'),
    result: ended.then(() => JSON.parse(out.split('\n')[1] ?? '') as Span),
  };
}

const warned: string[] = [];
const log = {
  info: (_: object, text: string) => void warned.push(text),
  warn: (_: object, text: string) => void warned.push(text),
};
const hourly: Rate = { amount: 20, perMs: 3_600_000, burst: 20 };

const running: SharedLimits[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
});

async function local(url: string): Promise<SharedLimits> {
  const limits = new SharedLimits({ url, name: 'local', own: new Limits(), now: Date.now, log });
  running.push(limits);
  await limits.ready(30_000);
  return limits;
}

const takes = (limits: SharedLimits, key: string): string => limits.take(key, 1, hourly, Date.now()).kind;
const settled = (limits: SharedLimits): Promise<void> => until('Redis has answered', () => limits.underWay === 0);

describe.skipIf(skipped)('two gateways on one Redis', () => {
  it('never exceed a limit by more than one burst, however fast they take', async () => {
    const rate: Rate = { amount: 100, perMs: 1_000, burst: 50 };
    const both = await Promise.all([gateway(redis.url, 3_000, rate), gateway(redis.url, 3_000, rate)]);
    for (const one of both) one.start();
    const spans = await Promise.all(both.map(({ result }) => result));
    const taken = spans.reduce((sum, one) => sum + one.taken, 0);
    const ms = Math.max(...spans.map(({ end }) => end)) - Math.min(...spans.map(({ start }) => start));
    // By themselves they would have taken twice this rate and two bursts.
    expect(taken).toBeLessThanOrEqual(rate.burst + (rate.amount * ms) / rate.perMs + 1 + rate.burst);
    expect(taken).toBeGreaterThan(rate.burst);
  });

  it('know of each other’s senders from half a bucket on, and say when to come again', async () => {
    const [one, other] = [await local(redis.url), await local(redis.url)];
    for (let n = 0; n < 20; n += 1) expect(takes(one, 'a')).toBe('within');
    await settled(one);
    for (let n = 0; n < 10; n += 1) expect(takes(other, 'a')).toBe('within');
    await settled(other);
    const refused = other.take('a', 1, hourly, Date.now());
    // Of the 30 that were taken, ten are owed: each grows back in three minutes.
    expect(refused.kind === 'over' && refused.retryAfterMs).toBeGreaterThan(10 * 180_000);
  });

  it('keep what was taken when one of them is new', async () => {
    const one = await local(redis.url);
    for (let n = 0; n < 20; n += 1) takes(one, 'b');
    await settled(one);
    const fresh = await local(redis.url);
    let taken = 0;
    for (let n = 0; n < 40; n += 1) {
      if (takes(fresh, 'b') === 'within') taken += 1;
      await settled(fresh);
    }
    expect(taken).toBe(10);
  });

  it('leave nothing of senders of a few messages in Redis, and no name in the clear', async () => {
    const own = await startRedis();
    const one = await local(own.url);
    for (let n = 0; n < 500; n += 1) takes(one, `once ${n}`);
    for (let n = 0; n < 15; n += 1) takes(one, 'often sender@example.org');
    await settled(one);
    const client = new Redis(own.url);
    const keys = await client.keys('*');
    expect(keys).toHaveLength(1);
    expect(keys[0]).toMatch(/^local:limit:[\w-]{24}$/);
    expect(await client.pttl(keys[0] ?? '')).toBeGreaterThan(0);
    await client.quit();
    await own.stop();
  });

  it('share again after their connections broke', async () => {
    const [one, other] = [await local(redis.url), await local(redis.url)];
    const client = new Redis(redis.url);
    const ids = async (): Promise<number[]> =>
      [...String(await client.call('CLIENT', 'LIST')).matchAll(/^id=(\d+)/gm)].map(([, id]) => Number(id));
    const before = Math.max(...(await ids()));
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal');
    await until('both came again', async () => (await ids()).filter((id) => id > before).length === 2);
    await client.quit();
    await Promise.all([one.ready(30_000), other.ready(30_000)]);
    for (let n = 0; n < 20; n += 1) takes(one, 'd');
    await settled(one);
    for (let n = 0; n < 10; n += 1) takes(other, 'd');
    await settled(other);
    expect(takes(other, 'd')).toBe('over');
  });

  it('limit by themselves while Redis is away, and say so once', async () => {
    const own = await startRedis();
    const limits = await local(own.url);
    for (let n = 0; n < 12; n += 1) takes(limits, 'c');
    await settled(limits);
    warned.length = 0;
    await own.stop();
    await until('it is noticed', () => warned.length > 0);
    const results = Array.from({ length: 20 }, () => takes(limits, 'c'));
    expect(results.filter((kind) => kind === 'within')).toHaveLength(8);
    expect(warned).toEqual([expect.stringContaining('by itself')]);
  });
});
