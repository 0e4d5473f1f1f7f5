import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing } from '../needs.ts';
import { type RedisServer, startRedis } from '../queue/redis-server.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { mxClient, submissionClient } from './fixtures/smtp-client.ts';
import { until } from './fixtures/until.ts';

// The first machine has the authority and a gateway, the second a gateway, the third is alice's. One Redis.
describe.skipIf(missing('redis-server'))('two gateways of one ring', () => {
  let redis: RedisServer;
  let outside: Outside;
  let homes: { first: TestHome; second: TestHome; alices: TestHome };
  let running: { first: RunningEpost; second: RunningEpost; alices: RunningEpost };
  let alice: MailProgram;

  beforeAll(async () => {
    redis = await startRedis();
    outside = await startOutside();
    homes = {
      first: await TestHome.make({ flags: { ...outside.flags, 'redis-url': redis.url } }),
      second: await TestHome.make({ flags: { hostname: 'mx2.example.org' } }),
      alices: await TestHome.make(),
    };
    const first = await homes.first.up();
    const second = await homes.second.join(await invitation('--gateway'), homes.first);
    const alices = await homes.alices.join(await invitation('--user', 'alice@example.org'), homes.first);
    running = { first, second, alices };
    await until('all three see each other', async () => {
      const { out } = await homes.second.run('status', '--json');
      return (JSON.parse(out) as { members: { up: boolean }[] }).members.filter(({ up }) => up).length === 3;
    });
    alice = await MailProgram.open(alices, 'alice@example.org');
  }, 180_000);

  afterAll(async () => {
    alice?.close();
    await Promise.all(Object.values(homes ?? {}).map((home) => home.remove()));
    await outside?.close();
    await redis?.stop();
  });

  async function invitation(...args: string[]): Promise<string> {
    const { code, out, err } = await homes.first.run('node', 'invite', '--json', ...args);
    expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' });
    return (JSON.parse(out) as { invite: string }).invite;
  }

  async function submit(body?: string): Promise<string> {
    const id = newMessageId();
    const { alices } = running;
    const client = await submissionClient(
      alices.port('submission'),
      'alice@example.org',
      alices.password('alice@example.org'),
    );
    const [from, to] = ['alice@example.org', 'friend@foreign.test'];
    const mail = message({ from, to, subject: 'out', messageId: id, ...(body === undefined ? {} : { body }) });
    expect(await client.send({ from, to: [to] }, mail)).toMatchObject({ code: 250 });
    await client.quit();
    return id;
  }

  async function receive(at: RunningEpost, body?: string): Promise<string> {
    const id = newMessageId();
    const [from, to] = ['friend@sender.test', 'alice@example.org'];
    const client = await mxClient(at.port('mx'));
    const mail = message({ from, to, subject: 'in', messageId: id, ...(body === undefined ? {} : { body }) });
    expect(await client.send({ from, to: [to] }, mail)).toMatchObject({ code: 250 });
    await client.quit();
    return id;
  }

  const timesOutside = (id: string) =>
    outside.mx.to('friend@foreign.test').filter(({ messageId }) => messageId === id).length;

  test('DKIM keys that one makes are taken over by the other', async () => {
    expect((await homes.first.run('dkim', 'rotate')).code).toBe(0);
    const { code, out } = await homes.first.run('dkim', 'export');
    expect(code).toBe(0);
    const file = path.join(homes.second.folder, 'dkim-keys');
    await writeFile(file, out);
    expect(await homes.second.run('dkim', 'import', file)).toMatchObject({ code: 0 });
    const keysAt = async (home: TestHome) => {
      const status = await home.run('dkim', 'status', '--json');
      const { keys } = JSON.parse(status.out) as { keys: { selector: string; stage: string }[] };
      return keys.map(({ selector, stage }) => `${selector} ${stage}`);
    };
    expect(await keysAt(homes.second)).toEqual(await keysAt(homes.first));
    expect(await keysAt(homes.second)).toHaveLength(4);
  });

  test('when one dies with its disk, the other delivers what it had accepted, in and out, once each; and goes on', async () => {
    expect((await homes.second.run('queue', 'pause', '--all', '--because', 'the test')).code).toBe(0);
    await until('the first heeds it', async () =>
      (await homes.first.run('queue', 'lanes', '--json')).out.includes('the test'),
    );
    // The large ones lie in the ring, under a key in the job; the small ones in Redis.
    const large = `${'large '.repeat(12)}\r\n`.repeat(6_000);
    const out = [await submit(), await submit(large), await submit()];
    const inward = [await receive(running.first), await receive(running.first, large), await receive(running.second)];
    await until('all wait in the queue', async () => {
      const { jobs } = JSON.parse((await homes.second.run('queue', 'list', '--json')).out) as { jobs: unknown[] };
      return jobs.length === out.length + inward.length;
    });
    await running.first.kill9('all');
    await rm(homes.first.folder, { recursive: true, force: true, maxRetries: 5 });
    expect((await homes.second.run('queue', 'resume', '--all')).code).toBe(0);
    await until('what went out arrived', () => out.every((id) => timesOutside(id) > 0), 90_000);
    await Promise.all(inward.map(async (id) => alice.waitForText(id)));
    // Alice's own node knows the other gateway.
    const later = await submit();
    await until('what she sends now arrives, too', () => timesOutside(later) > 0, 90_000);
    await alice.waitForText(await receive(running.second));
    await until('nothing waits', async () => {
      const { jobs } = JSON.parse((await homes.second.run('queue', 'list', '--json')).out) as { jobs: unknown[] };
      return jobs.length === 0;
    });
    expect([...out, later].map(timesOutside)).toEqual([1, 1, 1, 1]);
    const copies = await alice.messages();
    expect(inward.map((id) => copies.filter(({ bytes }) => bytes.includes(id)).length)).toEqual([1, 1, 1]);
  }, 240_000);
});
