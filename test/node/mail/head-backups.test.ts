import { expect, it } from 'vitest';
import { HeadBackups } from '../../../node/mail/head-backups.ts';
import type { Address } from '../../../policy/address.ts';
import { silent } from './mailbox-fixture.ts';
import { MemoryPost } from './memory-post.ts';

const hour = 3_600_000;

it('heads are kept every six hours, also after the clock was set back, and each time names what there was then', async () => {
  let now = 100 * hour;
  const post = new MemoryPost();
  const here = new Map<number, Uint8Array>();
  let names = ['mailbox', 'folder/1'];
  const backups = new HeadBackups({
    post,
    owner: 'alice@example.org' as Address,
    salt: new Uint8Array(32),
    cache: {
      backups: () => [...here.keys()],
      backup: (at) => here.get(at),
      keepBackup: async (at, bytes) => {
        here.set(at, bytes);
      },
    },
    openLog: async () => post.openLog({ name: 'backups', create: true }),
    logs: () => names,
    heads: async (name) => [Buffer.from(`${name} at ${now}`)],
    readHead: (_, head) => ({ length: head.length, read: () => [] as never }),
    now: () => now,
    log: silent,
  });
  expect(await backups.passed()).toBe(true);
  now += 6 * hour - 1;
  expect(await backups.passed()).toBe(false);
  now += 1;
  names = ['mailbox'];
  expect(await backups.passed()).toBe(true);
  expect(await backups.list()).toEqual([106 * hour, 100 * hour]);
  // With its disk gone the ring has them.
  here.clear();
  expect(await backups.list()).toEqual([106 * hour, 100 * hour]);
  expect((await backups.find(106 * hour)).read('folder/1')).toBeUndefined();
  const old = await backups.find(106 * hour - 1);
  expect(old.at).toBe(100 * hour);
  expect(old.read('folder/1')?.length).toBe(`folder/1 at ${100 * hour}`.length);
  now = 103 * hour;
  expect(await backups.passed()).toBe(true);
  await backups.stop();
});
