import { mkdtempSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cannotMount, RealDisk } from './real-disk.ts';
import { sent, TakingChild } from './taking-child.ts';

const trial = mkdtempSync(join(tmpdir(), 'epost-mount-'));
const reason = cannotMount(trial);
rmSync(trial, { recursive: true });

let dir: string;
let disk: RealDisk | undefined;
let taking: TakingChild | undefined;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'epost-real-disk-'));
});
afterEach(async () => {
  await taking?.end();
  disk?.end();
  await rm(dir, { recursive: true });
});

async function start(kind: 'tmpfs' | 'ext4'): Promise<{ readonly disk: RealDisk; readonly taking: TakingChild }> {
  disk = new RealDisk(dir, kind);
  taking = new TakingChild(join(disk.path, 'queue'), { decisionMs: 2_000, slowMs: 1_000 });
  await taking.start();
  return { disk, taking };
}

/** Messages of 14 KiB, from this number on, until one is refused; those that were taken, and the refusal. */
async function untilRefused(taking: TakingChild, from: number): Promise<{ taken: number[]; refusal: string }> {
  const taken: number[] = [];
  const client = await taking.connect();
  for (let n = from; n < from + 90; n += 1) {
    const reply = await sent(client, n, 200);
    if (!reply.startsWith('250 ')) return { taken, refusal: reply };
    taken.push(n);
  }
  throw new Error('the disk took everything');
}

describe.skipIf(reason)(`a real disk (${reason ?? 'mounted for each test'})`, () => {
  it.each(['tmpfs', 'ext4'] as const)(
    '%s that is full: clients are told, what was acknowledged is there once, and mail goes on when there is room again',
    async (kind) => {
      const { disk, taking } = await start(kind);
      const client = await taking.connect();
      for (let n = 0; n < 3; n += 1) expect(await sent(client, n)).toMatch(/^250 /);
      disk.fill();
      // What room the queue has in its own file it may still use.
      const { taken, refusal } = await untilRefused(taking, 100);
      expect(refusal).toMatch(/^4[25]1 4\.3\.[01] c/);
      if (!taking.isGone) await expect.poll(() => taking.greeting()).toMatch(/^(?:421 4\.3\.1 cannot store|closed)/);
      disk.empty();
      await expect.poll(() => taking.greeting(), { timeout: 20_000 }).toMatch(/^220 /);
      const again = await taking.connect();
      const next = 100 + taken.length;
      for (const n of [next, 500]) expect(await sent(again, n, 200)).toMatch(/^250 /);
      await taking.end();
      expect(await taking.kept()).toEqual([0, 1, 2, ...taken, next, 500]);
    },
    60_000,
  );

  it('that became read-only: clients are told, and all that was acknowledged is there when it is mounted anew', async () => {
    const { disk, taking } = await start('ext4');
    const client = await taking.connect();
    for (let n = 0; n < 3; n += 1) expect(await sent(client, n)).toMatch(/^250 /);
    disk.abort();
    const { taken, refusal } = await untilRefused(taking, 100);
    expect(refusal).toMatch(/^(?:4[25]1 4\.3\.[01] c|closed)/);
    await taking.end();
    disk.unmount();
    disk.mount();
    await taking.start();
    expect(await taking.greeting()).toMatch(/^220 /);
    const again = await taking.connect();
    const next = 100 + taken.length;
    expect(await sent(again, next, 200)).toMatch(/^250 /);
    await taking.end();
    expect(await taking.kept()).toEqual([0, 1, 2, ...taken, next]);
  }, 60_000);
});
