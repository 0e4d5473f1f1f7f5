import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { message, withAttachment } from './fixtures/message.ts';
import type { RunningEpost } from './fixtures/running.ts';

const user = 'alice@example.org';
let home: TestHome;
let epost: RunningEpost;

beforeAll(async () => {
  home = await TestHome.make();
  epost = await home.up();
});
afterAll(() => home?.remove());

/** Everything that a mail program could remember of a mailbox. */
async function everything(): Promise<unknown> {
  const { imap } = await MailProgram.open(epost, user);
  const folders = [];
  for (const { path: name, specialUse } of await imap.list()) {
    const { uidValidity, uidNext, highestModseq, exists } = await imap.mailboxOpen(name);
    const what = {
      flags: true,
      envelope: true,
      bodyStructure: true,
      size: true,
      internalDate: true,
      source: true,
    } as const;
    const messages = [];
    for (const one of exists === 0 ? [] : await imap.fetchAll('1:*', what)) {
      const { uid, modseq, emailId, envelope, bodyStructure, size, internalDate } = one;
      const flags = [...(one.flags ?? [])].sort();
      const source = one.source?.toString('latin1');
      messages.push({ uid, modseq, emailId, envelope, bodyStructure, size, internalDate, flags, source });
    }
    folders.push({ name, specialUse, uidValidity, uidNext, highestModseq, messages });
  }
  imap.close();
  return folders;
}

/** Takes away every index below the home; says how many there were. */
async function deleteIndexes(): Promise<number> {
  let deleted = 0;
  for (const entry of await readdir(home.folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isDirectory() || !entry.name.startsWith('index-')) continue;
    await rm(path.join(entry.parentPath, entry.name), { recursive: true, force: true });
    deleted += 1;
  }
  return deleted;
}

test('the index of a mailbox deleted while the node is down comes back as it was: uids, flags, modseqs, envelopes, octets', async () => {
  const { imap } = await MailProgram.open(epost, user);
  for (const subject of ['one', 'two', 'three', 'four']) {
    await imap.append('INBOX', message({ from: 'a@sender.test', to: user, subject }), []);
  }
  await imap.append(
    'INBOX',
    withAttachment({ from: 'a@sender.test', to: user, subject: 'f' }, Buffer.alloc(40_000, 7)),
  );
  await imap.mailboxOpen('INBOX');
  await imap.messageFlagsAdd('1:3', ['\\Seen', 'Work'], { uid: true });
  await imap.messageFlagsRemove('2', ['Work'], { uid: true });
  await imap.messageDelete('3', { uid: true });
  await imap.mailboxCreate('Projects/2026');
  await imap.messageCopy('1,5', 'Projects/2026', { uid: true });
  await imap.messageMove('4', 'Trash', { uid: true });
  await imap.mailboxRename('Projects/2026', 'Projects/Done');
  imap.close();
  const before = await everything();
  expect(JSON.stringify(before, (_, one: unknown) => (typeof one === 'bigint' ? Number(one) : one))).toContain('Work');
  // Without a farewell, as a power cut would.
  await epost.kill9('all');
  expect(await deleteIndexes()).toBeGreaterThan(0);
  epost = await home.up();
  expect(await everything()).toEqual(before);
}, 60_000);
