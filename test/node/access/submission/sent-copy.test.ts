import nodemailer from 'nodemailer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { submissionLimits } from '../../../../node/access/submission/limits.ts';
import { type SubmissionListener, startSubmission } from '../../../../node/access/submission/server.ts';
import { type ImapFixture, localTls, makeImap, password, quickGate, silent } from '../access-fixture.ts';
import { DialogClient } from '../dialog.ts';

let fixture: ImapFixture;
let listener: SubmissionListener;
let client: DialogClient;

beforeEach(async () => {
  fixture = await makeImap();
  listener = await startSubmission({
    host: '127.0.0.1',
    port: 0,
    tls: await localTls(),
    accounts: fixture.accounts,
    gate: quickGate(fixture.accounts),
    hostname: 'node.example.org',
    limits: submissionLimits,
    now: Date.now,
    log: silent,
    trace: () => undefined,
    newTraceId: () => 'T',
  });
  client = await DialogClient.connect(fixture.securePort, true);
  await client.line();
  await client.command(`a LOGIN alice@example.org "${password}"`);
});
afterEach(async () => {
  client.close();
  await listener.stop(500);
  await fixture.stop();
});

const letter = (more = ''): string =>
  [
    'From: alice@example.org',
    'To: bob@example.net',
    ...(more === '' ? [] : [more]),
    'Date: Thu, 26 Nov 2026 10:00:00 +0000',
    'Message-ID: <1@example.org>',
    'Subject: once',
    '',
    'Hello.',
    '',
  ].join('\r\n');

async function send(raw: string): Promise<void> {
  const transport = nodemailer.createTransport({
    host: '127.0.0.1',
    port: listener.port,
    requireTLS: true,
    tls: { rejectUnauthorized: false },
    auth: { user: 'alice@example.org', pass: password },
  });
  await transport.sendMail({ raw, envelope: { from: 'alice@example.org', to: ['bob@example.net'] } });
  transport.close();
}

async function append(folder: string, raw: string): Promise<string> {
  const lines = await client.command(`b APPEND ${folder} (\\Seen) {${raw.length}+}\r\n${raw}`);
  return lines.at(-1) ?? '';
}

async function sent(): Promise<string[]> {
  const folder = await fixture.account.mailbox.folder('Sent');
  const entries = folder?.entries() ?? [];
  return await Promise.all(
    entries.map(
      async ({ uid, flags }) => `${uid} ${flags.join(' ')}\n${Buffer.from(await folder!.bytes(uid)).toString()}`,
    ),
  );
}

describe('a message that was sent', () => {
  it('is kept as the program wrote it, read, and once though it is sent again', async () => {
    await send(letter());
    await send(letter());
    expect(await sent()).toEqual([`1 \\Seen\n${letter()}`]);
  });

  it('is there once when the program puts the same octets there afterwards, and it is told their UID', async () => {
    await send(letter());
    expect(await append('Sent', letter())).toMatch(/^b OK \[APPENDUID \d+ 1\]/);
    expect(await sent()).toHaveLength(1);
  });

  it('is there as the program put it when that is more than it sent', async () => {
    await send(letter());
    const own = letter('Bcc: carol@example.net');
    expect(await append('Sent', own)).toMatch(/^b OK \[APPENDUID \d+ 2\]/);
    expect(await sent()).toEqual([`2 \\Seen\n${own}`]);
  });

  it('is there once when the program has put it there before', async () => {
    const own = letter('Bcc: carol@example.net');
    await append('Sent', own);
    await send(letter());
    expect(await sent()).toEqual([`1 \\Seen\n${own}`]);
  });

  it('is another message in another folder', async () => {
    await send(letter());
    expect(await append('Drafts', letter())).toMatch(/^b OK \[APPENDUID \d+ 1\]/);
    expect((await fixture.account.mailbox.folder('Drafts'))?.entries()).toHaveLength(1);
    expect(await sent()).toHaveLength(1);
  });

  it('without a Message-ID is kept with the one it was given', async () => {
    await send(letter().replace('Message-ID: <1@example.org>\r\n', ''));
    const [copy] = await sent();
    expect(copy).toMatch(/Message-ID: <[0-9a-f]{32}@example\.org>/);
  });

  it('is sent though no folder for it is there', async () => {
    await fixture.account.mailbox.remove('Sent');
    await send(letter());
    expect(fixture.submitted).toHaveLength(1);
  });
});
