import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cannotDisturb, type Disturbance, disturb } from './disk-under-test.ts';
import { sent, TakingChild } from './taking-child.ts';

const reason = await cannotDisturb();

let dir: string;
let taking: TakingChild;
let disturbance: Disturbance | undefined;

async function start(settings = { decisionMs: 2_000, slowMs: 1_000 }): Promise<void> {
  taking = new TakingChild(join(dir, 'queue'), settings);
  await taking.start();
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'epost-disk-'));
});
afterEach(async () => {
  await disturbance?.end();
  disturbance = undefined;
  await taking.end();
  await rm(dir, { recursive: true });
});

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
      const before = await Promise.all([taking.connect(), taking.connect(), taking.connect()]);
      for (const [n, client] of before.entries()) expect(await sent(client, n)).toMatch(/^250 /);
      disturbance = await disturb(taking.process, inject, join(dir, 'calls'));
      // Who came second may be told at MAIL already.
      const refused = await Promise.all(before.map((client, n) => sent(client, 10 + n)));
      for (const reply of refused) expect(reply).toMatch(expected);
      if (!taking.isGone) expect(await taking.greeting()).toMatch(/^(?:421 4\.3\.1 cannot store|closed)/);
      await disturbance.end();
      await expect.poll(() => taking.greeting(), { timeout: 20_000 }).toMatch(/^220 /);
      // As their queues do: the same again, to the same host.
      const again = await taking.connect();
      for (const n of refused.keys()) expect(await sent(again, 10 + n)).toMatch(/^250 /);
      await taking.end();
      expect(await taking.kept()).toEqual([0, 1, 2, 10, 11, 12]);
    },
    60_000,
  );

  it('says 250 when the write is synced, and not before', async () => {
    await start();
    const client = await taking.connect();
    disturbance = await disturb(taking.process, undefined, join(dir, 'calls'));
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
    const sessions = await Promise.all(Array.from({ length: 20 }, () => taking.connect()));
    disturbance = await disturb(taking.process, 'fdatasync:delay_exit=50000', join(dir, 'calls'));
    await Promise.all(
      sessions.map(async (client, index) => {
        for (let n = 0; n < 3; n += 1) expect(await sent(client, index * 3 + n)).toMatch(/^250 /);
      }),
    );
    await disturbance.end();
    const syncs = (await disturbance.log()).filter((line) => /fdatasync.*= 0\b/.test(line)).length;
    expect(syncs).toBeGreaterThan(0);
    expect(syncs).toBeLessThan(30);
    await taking.end();
    expect(await taking.kept()).toHaveLength(60);
  });
});
