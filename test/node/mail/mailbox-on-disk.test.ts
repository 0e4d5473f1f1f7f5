import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Folder } from '../../../node/mail/folder.ts';
import type { Mailbox } from '../../../node/mail/mailbox.ts';
import { openMailbox } from '../../../node/mail/open-mailbox.ts';
import { DiskPost } from './disk-post.ts';
import { makeUser, silent } from './mailbox-fixture.ts';
import { noise, octets, withAttachment } from './messages.ts';

// The facts of mailbox.test.ts that depend on real logs and a real store.
const user = makeUser('alice');
let disk: DiskPost;
let mailbox: Mailbox;

async function openIt(create: boolean): Promise<Mailbox> {
  return openMailbox({ post: disk.post, user, dir: path.join(disk.dir, 'mail'), create, now: Date.now, log: silent });
}

beforeEach(async () => {
  disk = await DiskPost.open();
  mailbox = await openIt(true);
});
afterEach(async () => {
  await mailbox.close();
  await disk.stop();
});

async function inbox(): Promise<Folder> {
  const folder = await mailbox.folder('INBOX');
  if (folder === undefined) throw new Error('no INBOX');
  return folder;
}

async function view(folder: Folder): Promise<unknown> {
  const entries = folder.entries().map(async ({ uid, flags, modseq, internalDate, emailId }) => {
    const bytes = Buffer.from(await folder.bytes(uid)).toString('latin1');
    return { uid, flags, modseq, internalDate, emailId, bytes };
  });
  const { uidNext, uidValidity, highestModseq } = folder;
  return { uidNext, uidValidity, highestModseq, entries: await Promise.all(entries) };
}

describe('a mailbox over real logs and a real store', () => {
  it('is the same after a restart, without its index, and without the node’s own copy of its logs', async () => {
    const folder = await inbox();
    const messages = [octets('Subject: a', '', 'b'), withAttachment(noise(200_000))];
    await Promise.all(messages.map(async (bytes) => folder.append(bytes, { flags: ['Work'], internalDate: 5 })));
    for (let i = 0; i < 120; i++) await folder.append(octets(`Subject: ${i}`, '', ''), { flags: [], internalDate: i });
    await Promise.all(
      folder.entries().map(async ({ uid }) => folder.setFlags([uid], 'add', [uid % 2 === 0 ? '\\Seen' : '\\Flagged'])),
    );
    await folder.expunge([3, 5, 7]);
    await mailbox.create('work/plans');
    const before = await view(folder);
    const names = mailbox.folders();
    for (const loss of ['nothing', 'index', 'index and logs']) {
      await mailbox.close();
      await disk.restart({ loseLogs: loss === 'index and logs' });
      if (loss !== 'nothing') await rm(path.join(disk.dir, 'mail'), { recursive: true });
      mailbox = await openIt(false);
      expect(mailbox.folders()).toEqual(names);
      expect(await view(await inbox())).toEqual(before);
    }
  });

  it('goes on behind a snapshot', async () => {
    const folder = await inbox();
    await folder.append(octets('Subject: a', '', 'b'), { flags: [], internalDate: 5 });
    for (let i = 0; i < 1_100; i += 50) {
      await Promise.all(
        Array.from({ length: 50 }, async (_, k) => folder.setFlags([1], k % 2 === 0 ? 'add' : 'remove', ['\\Seen'])),
      );
    }
    await folder.append(octets('Subject: c', '', 'd'), { flags: ['\\Draft'], internalDate: 6 });
    const before = await view(folder);
    await mailbox.close();
    await disk.restart({ loseLogs: true });
    await rm(path.join(disk.dir, 'mail'), { recursive: true });
    mailbox = await openIt(false);
    expect(await view(await inbox())).toEqual(before);
  });
});
