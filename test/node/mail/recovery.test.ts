import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Folder } from '../../../node/mail/folder.ts';
import type { Mailbox } from '../../../node/mail/mailbox.ts';
import { openMailbox } from '../../../node/mail/open-mailbox.ts';
import { DiskPost } from './disk-post.ts';
import { makeUser, silent } from './mailbox-fixture.ts';
import { octets } from './messages.ts';

const user = makeUser('alice');
const hour = 3_600_000;
let disk: DiskPost;
let mailbox: Mailbox;
let now: number;

async function openIt(create: boolean): Promise<Mailbox> {
  const dir = path.join(disk.dir, 'mail');
  return openMailbox({ post: disk.post, user, dir, create, now: () => now, log: silent });
}

beforeEach(async () => {
  now = Date.UTC(2026, 10, 20, 12);
  disk = await DiskPost.open();
  mailbox = await openIt(true);
});
afterEach(async () => {
  await mailbox.close();
  await disk.stop();
});

async function folder(name: string): Promise<Folder> {
  const found = await mailbox.folder(name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}

async function subjects(name: string): Promise<string[]> {
  const found = await folder(name);
  const texts = found.entries().map(async ({ uid, flags }) => {
    const text = Buffer.from(await found.bytes(uid)).toString();
    return [/^Subject: (.*)\r$/m.exec(text)?.[1], ...flags].join(' ');
  });
  return (await Promise.all(texts)).sort();
}

async function fill(name: string, ...texts: string[]): Promise<void> {
  const into = await folder(name);
  for (const text of texts) await into.append(octets(`Subject: ${text}`, '', text), { flags: [], internalDate: now });
}

/** A folder of three, of which the heads are kept; then most of it is spoiled and something new comes. */
async function spoiled(): Promise<number> {
  await mailbox.create('Work/Plans');
  await fill('INBOX', 'a', 'b', 'c');
  await fill('Work/Plans', 'd');
  const inbox = await folder('INBOX');
  await inbox.setFlags([2], 'add', ['\\Flagged']);
  const kept = await mailbox.keepHeads();
  now += hour;
  await inbox.expunge([1, 3]);
  await inbox.setFlags([2], 'set', ['\\Seen']);
  await mailbox.remove('Work/Plans');
  await fill('INBOX', 'new');
  return kept;
}

describe('recovery to a time', () => {
  it('brings back messages, flags and folders, sets aside what came since, and can be undone by itself', async () => {
    const kept = await spoiled();
    const inbox = await folder('INBOX');
    const before = { uidNext: inbox.uidNext, modseq: inbox.highestModseq };
    const done = await mailbox.recover(kept + 5, { dryRun: false });
    expect(done.at).toBe(kept);
    expect(done.folders.filter(({ name }) => ['INBOX', 'Work/Plans'].includes(name))).toEqual([
      { name: 'INBOX', made: false, broughtBack: 2, setAside: 1, flagged: 1 },
      { name: 'Work/Plans', made: true, broughtBack: 1, setAside: 0, flagged: 0 },
    ]);
    expect(await subjects('INBOX')).toEqual(['a', 'b \\Flagged', 'c']);
    expect(await subjects('Work/Plans')).toEqual(['d']);
    expect(await subjects(`${done.aside}/INBOX`)).toEqual(['new']);
    // It goes on; nothing is rolled back, no uid comes again.
    expect(inbox.entries().map(({ uid }) => uid)).toEqual([2, before.uidNext, before.uidNext + 1]);
    expect(inbox.highestModseq).toBeGreaterThan(before.modseq);
    // Back to just before: those heads were kept by the recovery.
    const [newest = 0] = await mailbox.backups();
    expect(newest).toBe(now);
    now += hour;
    await mailbox.recover(newest, { dryRun: false });
    expect(await subjects('INBOX')).toEqual(['b \\Seen', 'new']);
  });

  it('as a dry run says the same and writes nothing', async () => {
    const kept = await spoiled();
    const { uidNext } = await folder('INBOX');
    const would = await mailbox.recover(kept, { dryRun: true });
    expect(await subjects('INBOX')).toEqual(['b \\Seen', 'new']);
    expect((await folder('INBOX')).uidNext).toBe(uidNext);
    expect(mailbox.folders().map(({ name }) => name)).not.toContain('Work/Plans');
    expect(await mailbox.backups()).toEqual([kept]);
    expect((await mailbox.recover(kept, { dryRun: false })).folders).toEqual(would.folders);
  });

  it('done twice changes nothing the second time', async () => {
    const kept = await spoiled();
    await mailbox.recover(kept, { dryRun: false });
    now += hour;
    const again = await mailbox.recover(kept, { dryRun: true });
    expect(again.folders.filter(({ name }) => name === 'INBOX')).toEqual([
      { name: 'INBOX', made: false, broughtBack: 0, setAside: 0, flagged: 0 },
    ]);
  });

  it('works on a node that lost its own disk of logs and its index: the ring has the heads', async () => {
    const kept = await spoiled();
    await mailbox.close();
    await disk.restart({ loseLogs: true });
    await rm(path.join(disk.dir, 'mail'), { recursive: true });
    mailbox = await openIt(false);
    expect(await mailbox.backups()).toEqual([kept]);
    await mailbox.recover(kept, { dryRun: false });
    expect(await subjects('INBOX')).toEqual(['a', 'b \\Flagged', 'c']);
  });

  it('to a time before all kept heads says so', async () => {
    const kept = await spoiled();
    await expect(mailbox.recover(kept - 1, { dryRun: true })).rejects.toMatchObject({ code: 'missing' });
  });

  it('reaches seven days back', async () => {
    const kept = await spoiled();
    now += 6 * 24 * hour;
    expect(await mailbox.backups()).toEqual([kept]);
    now += 2 * 24 * hour;
    expect(await mailbox.backups()).toEqual([]);
  });
});
