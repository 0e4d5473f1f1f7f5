import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { withAttachment } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { submissionClient } from './fixtures/smtp-client.ts';

const quotaKib = 512;
let outside: Outside;
let home: TestHome;
let epost: RunningEpost;
let bob: MailProgram;

beforeAll(async () => {
  outside = await startOutside();
  home = await TestHome.make({
    flags: outside.flags,
    config: (text) => text.replace('quota: 20GiB', `quota: ${quotaKib}KiB`),
  });
  epost = await home.up();
  bob = await MailProgram.open(epost, 'bob@example.org');
}, 120_000);

afterAll(async () => {
  bob?.close();
  await home?.remove();
  await outside?.close();
});

const from = { from: 'bob@example.org', to: 'alice@example.org' };
const large = (): Buffer => withAttachment({ ...from, subject: 'large' }, randomBytes(100 * 1024));

async function usedKib(): Promise<number> {
  const quota = await bob.imap.getQuota('INBOX');
  if (quota === false) throw new Error('no quota is told');
  const { usage, limit } = quota.storage ?? {};
  expect(limit).toBe(quotaKib * 1024);
  return (usage ?? 0) / 1024;
}

// What an APPEND that is refused was answered with (RFC 5530).
async function codeOf(append: Promise<unknown>): Promise<string> {
  return append.then(
    () => 'OK',
    (fault: unknown) => (fault as { serverResponseCode?: string }).serverResponseCode ?? String(fault),
  );
}

test('a user sees what he uses, is refused with OVERQUOTA and 552 above it, and can still read and delete', async () => {
  expect(bob.imap.capabilities.has('QUOTA')).toBe(true);
  const before = await usedKib();
  const answers: string[] = [];
  // More than fits, however the messages are cut into blocks.
  while (answers.at(-1) !== 'OVERQUOTA' && answers.length < 10)
    answers.push(await codeOf(bob.imap.append('INBOX', large())));
  expect(answers.length).toBeGreaterThan(2);
  expect(answers.at(-1)).toBe('OVERQUOTA');
  // The figure is up to five seconds old.
  await expect.poll(usedKib, { timeout: 20_000 }).toBeGreaterThan(before + 200);

  const client = await submissionClient(epost.port('submission'), from.from, epost.password(from.from));
  const sent = await client.send({ from: from.from, to: [from.to] }, large());
  expect(sent).toMatchObject({ code: 552, text: expect.stringContaining('5.2.2') });
  await client.quit();

  const kept = await bob.messages();
  expect(kept).toHaveLength(answers.length - 1);
  const lock = await bob.imap.getMailboxLock('INBOX');
  expect(await bob.imap.messageDelete('1')).toBe(true);
  lock.release();
  expect(await bob.messages()).toHaveLength(kept.length - 1);
}, 120_000);
