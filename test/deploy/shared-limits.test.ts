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

/** Nothing was ever taken. */
async function startOver(): Promise<void> {
  const client = new Redis(redis.url);
  await client.flushall();
  await client.quit();
}

interface Span {
  readonly taken: number;
  readonly start: number;
  readonly end: number;
}

/** What a gateway in a process of its own could take in so many ms. */
async function gateway(
  url: string,
  forMs: number,
  rate: Rate,
  perSecond: number,
): Promise<{ start(): void; result: Promise<Span> }> {
  const file = path.resolve('test/deploy/limits-child.ts');
  const args = [file, url, String(forMs), JSON.stringify(rate), String(perSecond)];
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
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
const settled = (limits: SharedLimits): Promise<void> => until('Redis knows all', () => limits.untold === 0);

describe.skipIf(skipped)('two gateways on one Redis', () => {
  // By themselves they would take twice the rate and two bursts.
  it.each([
    ['two, as fast as they can', 2, Number.POSITIVE_INFINITY],
    ['two that each keep to the limit, together to twice of it', 2, 100],
    ['four, as fast as they can', 4, Number.POSITIVE_INFINITY],
  ])('exceed a limit by at most one burst for each further one: %s', async (_, count, perSecond) => {
    const rate: Rate = { amount: 100, perMs: 1_000, burst: 20 };
    await startOver();
    const all = await Promise.all(Array.from({ length: count }, () => gateway(redis.url, 2_000, rate, perSecond)));
    for (const one of all) one.start();
    const spans = await Promise.all(all.map(({ result }) => result));
    const taken = spans.reduce((sum, one) => sum + one.taken, 0);
    const ms = Math.max(...spans.map(({ end }) => end)) - Math.min(...spans.map(({ start }) => start));
    expect(taken).toBeLessThanOrEqual(count * rate.burst + (rate.amount * ms) / rate.perMs + 1);
    expect(taken).toBeGreaterThan(rate.burst);
  });

  it('know of each other’s senders from their first message on, and say when to come again', async () => {
    const [one, other] = [await local(redis.url), await local(redis.url)];
    for (let n = 0; n < 20; n += 1) expect(takes(one, 'a')).toBe('within');
    await settled(one);
    // He has a burst here as well, of which one is used before Redis says that he has had his.
    expect(takes(other, 'a')).toBe('within');
    await settled(other);
    const refused = other.take('a', 1, hourly, Date.now());
    // 21 are owed where 20 may be, and one more is wanted: each grows back in three minutes.
    expect(refused.kind === 'over' && refused.retryAfterMs).toBeGreaterThan(350_000);
  });

  it('keep what was taken when one of them is new', async () => {
    const one = await local(redis.url);
    for (let n = 0; n < 20; n += 1) takes(one, 'b');
    await one.stop();
    const fresh = await local(redis.url);
    takes(fresh, 'b');
    await settled(fresh);
    expect(takes(fresh, 'b')).toBe('over');
  });

  it('leave nothing in Redis of who is within his rate again, and no name in the clear', async () => {
    const own = await startRedis();
    const one = await local(own.url);
    for (let n = 0; n < 15; n += 1) takes(one, 'often sender@example.org');
    const quick: Rate = { amount: 1_000, perMs: 1_000, burst: 20 };
    for (let n = 0; n < 500; n += 1) one.take(`once ${n}`, 1, quick, Date.now());
    await settled(one);
    const client = new Redis(own.url);
    await until('the others have gone', async () => (await client.dbsize()) === 1);
    const [key = ''] = await client.keys('*');
    expect(key).toMatch(/^local:limit:[\w-]{24}$/);
    expect(await client.pttl(key)).toBeLessThanOrEqual(15 * 180_000 + 1_000);
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
    takes(other, 'd');
    await settled(other);
    expect(takes(other, 'd')).toBe('over');
  });

  it('limit by themselves while Redis is away, say so once, and tell what was taken when it is back', async () => {
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
    // It comes back without the 12 that it knew of.
    const again = await startRedis({ port: new URL(own.url).port });
    await settled(limits);
    const other = await local(own.url);
    for (let n = 0; n < 12; n += 1) expect(takes(other, 'c')).toBe('within');
    await settled(other);
    takes(other, 'c');
    await settled(other);
    expect(takes(other, 'c')).toBe('over');
    expect(warned.at(-1)).toContain('shared');
    await again.stop();
  });
});
