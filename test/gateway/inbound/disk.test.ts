import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeInboundJob } from '../../../gateway/inbound/job.ts';
import { openEmbeddedQueue } from '../../../queue/embedded.ts';
import { cannotDisturb, type Disturbance, disturb, kill } from './disk-under-test.ts';
import { plainMessage, RawClient } from './listener-under-test.ts';

const reason = await cannotDisturb();
const childFile = fileURLToPath(new URL('./disk-child.ts', import.meta.url));
const quick = { decisionMs: 2_000, slowMs: 1_000 };
const quiet = { info() {}, warn() {}, error() {} };

let dir: string;
let child: ChildProcess;
let port: number;
let disturbance: Disturbance | undefined;
const clients: RawClient[] = [];

async function start(settings = quick): Promise<void> {
  child = spawn(process.execPath, [childFile, join(dir, 'queue'), JSON.stringify(settings)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  if (child.stdout === null) throw new Error('no output');
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  port = Number(said.toString());
}

async function connect(): Promise<RawClient> {
  const client = await RawClient.connect(port);
  clients.push(client);
  return client;
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'epost-disk-'));
});
afterEach(async () => {
  await disturbance?.end();
  disturbance = undefined;
  for (const client of clients.splice(0)) client.close();
  await kill(child);
  await rm(dir, { recursive: true });
});

const message = (n: number): string => plainMessage.replace('hello', `number ${n}.`);

/** The greeting of a new connection; a process that gave up on its queue is started again first, as the supervisor does. */
async function greeting(): Promise<string> {
  if (child.exitCode !== null) await start();
  const client = new RawClient(createConnection(port, '127.0.0.1'));
  const said = await client.reply();
  client.close();
  return said;
}

async function sent(client: RawClient, n: number): Promise<string> {
  await client.envelope();
  return await client.data(message(n));
}

/** The numbers of the messages that a new owner of the queue finds in it, each as often as it is there. */
async function kept(): Promise<number[]> {
  const queue = await openEmbeddedQueue({
    dir: join(dir, 'queue'),
    role: 'owner',
    now: Date.now,
    log: quiet,
    minFreeBytes: 1,
  });
  try {
    const jobs = await queue.list({ state: 'due', limit: 1_000 });
    const bodies = await Promise.all(jobs.map(async ({ id }) => decodeInboundJob((await queue.get(id))!.body)));
    const texts = bodies.map((job) => Buffer.from(job.message as Uint8Array).toString());
    return texts.map((text) => Number(/number (\d+)\./.exec(text)?.[1])).sort((a, b) => a - b);
  } finally {
    await queue.close();
  }
}

describe.skipIf(reason)(`a disk that is disturbed (${reason ?? 'by strace'})`, () => {
  const faults: [why: string, inject: string, reply: RegExp][] = [
    ['a sync that fails', 'fdatasync:error=EIO', /^451 4\.3\.1 cannot store/],
    ['a write that fails', 'pwrite64,pwritev:error=EIO', /^451 4\.3\.1 cannot store/],
    ['a full disk', 'pwrite64,pwritev:error=ENOSPC', /^451 4\.3\.1 cannot store/],
    ['a disk that became read-only', 'pwrite64,pwritev,fdatasync:error=EROFS', /^451 4\.3\.1 cannot store/],
    ['a disk that hangs', 'fdatasync:delay_enter=4000000', /^451 4\.3\.[01] c/],
  ];
  it.each(faults)(
    '%s: clients are told in time, nothing acknowledged is lost, nothing is there twice, and mail goes on by itself',
    async (_why, inject, expected) => {
      await start();
      const before = await Promise.all([connect(), connect(), connect()]);
      for (const [n, client] of before.entries()) expect(await sent(client, n)).toMatch(/^250 /);
      disturbance = await disturb(child, inject, join(dir, 'calls'));
      const refused = await Promise.all(before.map((client, n) => sent(client, 10 + n).catch(String)));
      // Who came second may be told at MAIL already.
      for (const reply of refused) expect(reply.replace(/^Error: /, '')).toMatch(expected);
      if (child.exitCode === null) expect(await greeting()).toMatch(/^(?:421 4\.3\.1 cannot store|closed)/);
      await disturbance.end();
      await expect.poll(greeting, { timeout: 20_000 }).toMatch(/^220 /);
      // As their queues do: the same again, to the same host.
      const again = await connect();
      for (const n of refused.keys()) expect(await sent(again, 10 + n)).toMatch(/^250 /);
      await kill(child);
      expect(await kept()).toEqual([0, 1, 2, 10, 11, 12]);
    },
    60_000,
  );

  it('says 250 when the write is synced, and not before', async () => {
    await start();
    const client = await connect();
    disturbance = await disturb(child, undefined, join(dir, 'calls'));
    for (let n = 0; n < 3; n += 1) expect(await sent(client, n)).toMatch(/^250 /);
    await disturbance.end();
    // Between "go ahead" and the 250: data synced (fdatasync), then the page that makes it valid (128 octets through O_DSYNC).
    const calls = (await disturbance.log()).flatMap((line) => {
      if (line.includes('"354 ')) return ['go'];
      if (line.includes('"250 2.0.0 Ok: queued')) return ['250'];
      if (/fdatasync.*= 0$/.test(line)) return ['sync'];
      return /pwrite64.*= 128$/.test(line) ? ['valid'] : [];
    });
    const turns = calls.join(' ').match(/go .*?250/g) ?? [];
    expect(turns).toHaveLength(3);
    for (const turn of turns) expect(turn).toMatch(/^go .*sync .*valid .*250$/);
  });

  it('lets sessions share a sync: 60 messages of 20 sessions need fewer than half as many', async () => {
    await start({ decisionMs: 60_000, slowMs: 30_000 });
    const sessions = await Promise.all(Array.from({ length: 20 }, connect));
    disturbance = await disturb(child, 'fdatasync:delay_exit=50000', join(dir, 'calls'));
    await Promise.all(
      sessions.map(async (client, index) => {
        for (let n = 0; n < 3; n += 1) expect(await sent(client, index * 3 + n)).toMatch(/^250 /);
      }),
    );
    await disturbance.end();
    const syncs = (await disturbance.log()).filter((line) => /fdatasync.*= 0\b/.test(line)).length;
    expect(syncs).toBeGreaterThan(0);
    expect(syncs).toBeLessThan(30);
    await kill(child);
    expect(await kept()).toHaveLength(60);
  });
});
