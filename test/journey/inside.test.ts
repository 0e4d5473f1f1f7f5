import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { field, message, newMessageId, withAttachment } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { SmtpClient, submissionClient } from './fixtures/smtp-client.ts';

let outside: Outside;
let home: TestHome;
let epost: RunningEpost;
let alice: MailProgram;
let bob: MailProgram;

beforeAll(async () => {
  outside = await startOutside();
  home = await TestHome.make({ flags: outside.flags });
  epost = await home.up();
  alice = await MailProgram.open(epost, 'alice@example.org');
  bob = await MailProgram.open(epost, 'bob@example.org');
});

afterAll(async () => {
  alice?.close();
  bob?.close();
  await home?.remove();
  await outside?.close();
});

const fromAlice = { from: 'alice@example.org', to: 'bob@example.org' };

async function submit(user: string, to: readonly string[], bytes: Uint8Array): Promise<{ code: number; text: string }> {
  const client = await submissionClient(epost.port('submission'), user, epost.password(user));
  const reply = await client.send({ from: user, to }, bytes);
  await client.quit();
  return reply;
}

async function storedBytes(): Promise<number> {
  const { code, out } = await home.run('status', '--json');
  expect(code).toBe(0);
  const { store } = JSON.parse(out) as { store: { bytes: number } };
  return store.bytes;
}

describe('from alice to bob', () => {
  test('a message is in bob’s inbox with the octets that alice wrote, and touched no SMTP and no DNS', async () => {
    const id = newMessageId();
    const sent = message({ ...fromAlice, subject: 'hello', messageId: id, body: 'über die Straße\r\n.dot\r\n' });
    expect(await submit('alice@example.org', ['bob@example.org'], sent)).toMatchObject({ code: 250 });
    const got = await bob.waitForText(id);
    expect(got.bytes.subarray(got.bytes.indexOf('From: alice')).equals(sent)).toBe(true);
    expect(outside.mx.asked).toEqual([]);
    expect(outside.dns.asked).toEqual([]);
  });

  test('an attachment is stored once for the recipient, for the copy in Sent, and for a second message', async () => {
    const bytes = randomBytes(1_048_576);
    const id = newMessageId();
    const sent = withAttachment({ ...fromAlice, subject: 'report', messageId: id }, bytes);
    const before = await storedBytes();
    expect(await submit('alice@example.org', ['bob@example.org'], sent)).toMatchObject({ code: 250 });
    const got = await bob.waitForText(id);
    expect(got.bytes.subarray(got.bytes.length - 100_000).equals(sent.subarray(sent.length - 100_000))).toBe(true);
    await alice.imap.append('Sent', sent, ['\\Seen']);
    // The node has put it there already, and the program's own copy is no second one.
    const copies = (await alice.messages('Sent')).filter(({ bytes: octets }) => octets.includes(id));
    expect(copies).toHaveLength(1);
    const [copy] = copies;
    expect(copy?.bytes.equals(sent)).toBe(true);
    expect(copy?.flags).toContain('\\Seen');
    const again = withAttachment({ ...fromAlice, subject: 'the same report', messageId: newMessageId() }, bytes);
    expect(await submit('alice@example.org', ['bob@example.org'], again)).toMatchObject({ code: 250 });
    await bob.waitForText('the same report');

    const grown = (await storedBytes()) - before;
    expect(grown).toBeGreaterThan(1_048_576);
    // Heads, records, manifests and the salted texts of three messages; a second copy would add a megabyte.
    expect(grown).toBeLessThan(1_048_576 + 300_000);
  });

  test('an address in the ring that nobody has is refused at once, in the session', async () => {
    const mail = message({ ...fromAlice, to: 'nobody@example.org', subject: 'x' });
    expect(await submit('alice@example.org', ['nobody@example.org'], mail)).toMatchObject({
      code: 550,
      text: expect.stringContaining('5.1.1'),
    });
  });

  test('the postmaster of the ring can be written to from inside too (RFC 5321 §4.5.1)', async () => {
    const id = newMessageId();
    const mail = message({ from: 'bob@example.org', to: 'postmaster@example.org', subject: 'help', messageId: id });
    expect(await submit('bob@example.org', ['Postmaster@example.org'], mail)).toMatchObject({ code: 250 });
    expect((await alice.waitForText(id)).bytes.includes('help')).toBe(true);
    expect(outside.mx.asked).toEqual([]);
  });

  test('a message to herself and to bob is one each', async () => {
    const id = newMessageId();
    const mail = message({ ...fromAlice, subject: 'us', messageId: id });
    expect(await submit('alice@example.org', ['bob@example.org', 'alice@example.org'], mail)).toMatchObject({
      code: 250,
    });
    for (const program of [alice, bob]) {
      await program.waitForText(id);
      expect((await program.messages()).filter(({ bytes }) => bytes.includes(id))).toHaveLength(1);
    }
  });

  test('the timeline of the message is told by `epost trace`', async () => {
    const got = (await bob.messages()).map(({ bytes }) => field(bytes, 'X-ePOST-Trace'));
    const told = await home.run('trace', '--json');
    const recent = JSON.parse(told.out) as { id: string; from: string }[];
    expect(recent.some(({ from }) => from === 'alice@example.org')).toBe(true);
    for (const id of got) if (id !== undefined) expect(recent.map((one) => one.id)).toContain(id);
    // To the receipt, which the recipient's node signed.
    await expect
      .poll(async () => JSON.parse((await home.run('trace', '--json')).out) as unknown, { timeout: 10_000 })
      .toContainEqual(expect.objectContaining({ to: 'bob@example.org', last: 'receipt accepted' }));
  });
});

describe('the submission listener', () => {
  test('takes no password before STARTTLS, and no mail before a password', async () => {
    const client = await SmtpClient.connect(epost.port('submission'));
    const hello = await client.command('EHLO laptop.test');
    expect(hello.text).not.toMatch(/AUTH/);
    expect((await client.login('alice@example.org', epost.password('alice@example.org'))).code).toBeGreaterThanOrEqual(
      500,
    );
    expect((await client.command('MAIL FROM:<alice@example.org>')).code).toBe(530);
    await client.startTls();
    await client.command('EHLO laptop.test');
    expect((await client.command('MAIL FROM:<alice@example.org>')).code).toBe(530);
    await client.quit();
  });

  test('refuses a wrong password', async () => {
    const attempt = submissionClient(epost.port('submission'), 'alice@example.org', 'wrong');
    await expect(attempt).rejects.toThrow(/535/);
  });

  test('lets alice neither submit as bob nor write bob into From', async () => {
    const client = await submissionClient(
      epost.port('submission'),
      'alice@example.org',
      epost.password('alice@example.org'),
    );
    const honest = message({ ...fromAlice, subject: 'x' });
    const asBob = await client.send({ from: 'bob@example.org', to: ['bob@example.org'] }, honest);
    expect(asBob.code).toBeGreaterThanOrEqual(500);
    await client.command('RSET');
    const posing = message({ from: 'Bob <bob@example.org>', to: 'friend@foreign.test', subject: 'posing' });
    const withBob = await client.send({ from: 'alice@example.org', to: ['friend@foreign.test'] }, posing);
    expect(withBob.code).toBeGreaterThanOrEqual(500);
    const inRing = await client.send({ from: 'alice@example.org', to: ['alice@example.org'] }, posing);
    expect(inRing.code).toBeGreaterThanOrEqual(500);
    const two = message({ from: 'alice@example.org, bob@example.org', to: 'friend@foreign.test', subject: 'both' });
    expect(
      (await client.send({ from: 'alice@example.org', to: ['friend@foreign.test'] }, two)).code,
    ).toBeGreaterThanOrEqual(500);
    await client.quit();
    expect(outside.mx.asked).toEqual([]);
    expect((await alice.messages()).some(({ bytes }) => bytes.includes('posing'))).toBe(false);
  });
});
