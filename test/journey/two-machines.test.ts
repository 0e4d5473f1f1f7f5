import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { message } from './fixtures/message.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { mxClient, submissionClient } from './fixtures/smtp-client.ts';
import { until } from './fixtures/until.ts';

// A user with two machines that both serve his mailbox: invited with `--user ADDRESS --keep`.
const user = 'alice@example.org';
let homes: { first: TestHome; second: TestHome };
let first: RunningEpost;
let second: RunningEpost;

beforeAll(async () => {
  homes = { first: await TestHome.make(), second: await TestHome.make() };
  first = await homes.first.up();
  const { code, out, err } = await homes.first.run('node', 'invite', '--json', '--user', user, '--keep');
  expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' });
  second = await homes.second.join((JSON.parse(out) as { invite: string }).invite, homes.first);
}, 120_000);

afterAll(async () => {
  await Promise.all(Object.values(homes ?? {}).map((home) => home.remove()));
});

const view = (messages: Awaited<ReturnType<MailProgram['messages']>>): unknown =>
  messages.map(({ uid, bytes, flags }) => ({ uid, text: bytes.toString('latin1'), flags: [...flags].sort() }));

test('what comes in, what is sent, flagged and deleted at one of them is at both, once', async () => {
  const mails = 20;
  const outside = await mxClient(first.port('mx'));
  for (let number = 0; number < mails; number++) {
    const mail = message({ from: 'friend@sender.test', to: user, subject: `number ${number}` });
    expect(await outside.send({ from: 'friend@sender.test', to: [user] }, mail)).toMatchObject({ code: 250 });
  }
  await outside.quit();
  const here = await MailProgram.open(first, user);
  const there = await MailProgram.open(second, user);
  for (const mail of [here, there])
    await until('all of it is there', async () => (await mail.messages()).length >= mails);
  await here.imap.mailboxOpen('INBOX');
  await here.imap.messageFlagsAdd('1', ['\\Flagged'], { uid: true });
  await here.imap.messageDelete('2', { uid: true });
  await there.imap.mailboxCreate('Plans');
  const sender = await submissionClient(second.port('submission'), user, first.password(user));
  const toBob = message({ from: user, to: 'bob@example.org', subject: 'from the second machine' });
  expect(await sender.send({ from: user, to: ['bob@example.org'] }, toBob)).toMatchObject({ code: 250 });
  await sender.quit();
  const bob = await MailProgram.open(first, 'bob@example.org');
  await bob.waitForText('from the second machine');
  await here.waitForText('from the second machine', 'Sent');
  await until('both show the same', async () => {
    const [one, other] = [view(await here.messages()), view(await there.messages())];
    return JSON.stringify(one) === JSON.stringify(other) && JSON.stringify(one).includes('Flagged');
  });
  expect(await here.messages()).toHaveLength(mails - 1);
  expect((await there.imap.list()).map(({ path }) => path)).toContain('Plans');
  await until('the folder is here', async () => (await here.imap.list()).some(({ path }) => path === 'Plans'));
  for (const mail of [here, there, bob]) mail.close();
}, 90_000);

test('how a message came in can be verified on the recipient’s own machine, which is no gateway', async () => {
  const subject = 'to be proven';
  const outside = await mxClient(first.port('mx'));
  const mail = message({ from: 'friend@sender.test', to: user, subject });
  expect(await outside.send({ from: 'friend@sender.test', to: [user] }, mail)).toMatchObject({ code: 250 });
  await outside.quit();
  const there = await MailProgram.open(second, user);
  const { bytes } = await there.waitForText(subject);
  there.close();
  const trace = /^X-ePOST-Trace: (\S+)/m.exec(bytes.toString('latin1'))?.[1] ?? '';
  const folder = await mkdtemp(path.join(tmpdir(), 'epost-proof-'));
  const file = path.join(folder, 'message.eml');
  await writeFile(file, bytes);
  const verify = async () => await homes.second.run('trace', trace, '--verify', '--message', file);
  // The note is written after the message is in the folder.
  await until('the record is there', async () => (await verify()).code !== 3);
  const good = await verify();
  expect(good).toMatchObject({ code: 0, err: '' });
  expect(good.out).toMatch(/^holds +record: signed by gateway@example\.org/m);
  expect(good.out).toMatch(/^holds +message: every octet/m);
  expect(good.out).toMatch(/^holds +certificate: gateway@example\.org/m);
  await writeFile(file, bytes.toString('latin1').replace(subject, 'to be pr0ven'), 'latin1');
  expect((await verify()).code).toBe(1);
  await rm(folder, { recursive: true });
});
