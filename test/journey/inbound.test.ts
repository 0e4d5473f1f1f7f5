import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDkimKeys } from '../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../gateway/dkim/record.ts';
import { dkimSignatures } from '../../gateway/dkim/sign.ts';
import { missing, program } from '../needs.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { field, message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import { run } from './fixtures/program.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { mxClient } from './fixtures/smtp-client.ts';
import { until } from './fixtures/until.ts';

let outside: Outside;
let home: TestHome;
let epost: RunningEpost;
let alice: MailProgram;

beforeAll(async () => {
  outside = await startOutside();
  home = await TestHome.make({ flags: outside.flags });
  epost = await home.up();
  alice = await MailProgram.open(epost, 'alice@example.org');
});

afterAll(async () => {
  alice?.close();
  await home?.remove();
  await outside?.close();
});

const traceId = /\b[0-9A-HJKMNP-TV-Z]{16}\b/;

describe.skipIf(missing('swaks'))('swaks from outside', () => {
  const swaks = (to: string, ...args: string[]): ReturnType<typeof run> =>
    run(program('swaks'), [
      '--server',
      `127.0.0.1:${epost.port('mx')}`,
      '--helo',
      'mail.sender.test',
      '--to',
      to,
      ...args,
    ]);

  test('to alice is accepted, and the message is in her inbox', async () => {
    const id = newMessageId();
    const { code, out } = await swaks(
      'alice@example.org',
      '--from',
      'friend@sender.test',
      '--header',
      `Message-Id: ${id}`,
      '--body',
      'from swaks',
    );
    expect({ code, out }).toMatchObject({ code: 0, out: expect.stringMatching(/<- {2}250 2\.0\.0 .*queued as/) });
    const arrived = await alice.waitForText(id);
    expect(arrived.bytes.toString()).toMatch(/\r\n\r\nfrom swaks\r\n/);
    expect(field(arrived.bytes, 'Return-Path')).toBe('<friend@sender.test>');
    expect(field(arrived.bytes, 'Authentication-Results')).toMatch(/spf=pass .*dmarc=pass/);
    expect(field(arrived.bytes, 'X-ePOST-Trace')).toMatch(traceId);
  });

  test('to nobody@example.org gets 550 5.1.1 at RCPT', async () => {
    const { code, out } = await swaks('nobody@example.org', '--from', 'friend@sender.test');
    // swaks: 24 is "no recipients accepted", so the refusal came at RCPT.
    expect(code).toBe(24);
    expect(out).toMatch(/-> RCPT TO:<nobody@example\.org>\n<\*\* 550 5\.1\.1 /);
  });

  test.each([
    'someone@foreign.test',
    'someone@gmail.com',
    '"someone@foreign.test"@example.org',
    'someone%foreign.test@example.org',
  ])('to %s is refused at RCPT: nothing is relayed for strangers', async (to) => {
    const { code, out } = await swaks(to, '--from', 'friend@sender.test');
    expect({ code, out }).toMatchObject({ code: 24, out: expect.stringMatching(/-> RCPT TO.*\n<\*\* 5\d\d 5\./) });
    expect(outside.mx.asked).toEqual([]);
  });

  test('in the name of a domain with p=reject gets 550 5.7.1 with a trace id, which `epost trace` explains', async () => {
    const { code, out } = await swaks(
      'alice@example.org',
      '--from',
      'ceo@bank.test',
      '--header',
      'From: The boss <ceo@bank.test>',
      '--body',
      'wire the money',
    );
    // swaks: 26 is "the message was refused after DATA".
    expect(code).toBe(26);
    const reply = /<\*\* (550 5\.7\.1 .*)/.exec(out)?.[1] ?? '';
    const id = traceId.exec(reply)?.[0] ?? '';
    expect(id).toMatch(traceId);
    const told = await home.run('trace', id);
    expect(told.code).toBe(0);
    expect(told.out).toMatch(/reject at data: decided by rule dmarc-reject\./);
    expect(told.out).toMatch(/dmarc-reject matched because /);
    expect(told.out).toMatch(/bank\.test/);
    const asJson = await home.run('trace', id, '--json');
    expect(JSON.parse(asJson.out)).toMatchObject({
      id,
      events: expect.arrayContaining([
        expect.objectContaining({ what: 'decision', rule: 'dmarc-reject', verdict: 'reject' }),
      ]),
    });
    expect((await alice.messages()).some(({ bytes }) => bytes.includes('wire the money'))).toBe(false);
  });
});

describe.skipIf(missing('curl'))('curl from outside', () => {
  test('over STARTTLS is accepted, and the Received field says so', async () => {
    const id = newMessageId();
    const mail = message({ from: 'friend@sender.test', to: 'alice@example.org', subject: 'sealed', messageId: id });
    const to = `smtp://127.0.0.1:${epost.port('mx')}/mail.sender.test`;
    const envelope = ['--mail-from', 'friend@sender.test', '--mail-rcpt', 'alice@example.org'];
    const { code } = await run(program('curl'), ['-sk', '--ssl-reqd', to, ...envelope, '-T', '-'], { input: mail });
    expect(code).toBe(0);
    expect(field((await alice.waitForText(id)).bytes, 'Received')).toMatch(/with ESMTPS .*TLSv1\.3/);
  });
});

describe.skipIf(missing('smtp-source'))("postfix's smtp-source", () => {
  test('is served over several sessions at once, each message delivered', async () => {
    const count = 24;
    const options = `-s 4 -m ${count} -l 4096 -S smtp-source -f source@sender.test -t alice@example.org -M mail.sender.test`;
    const { code, err } = await run(program('smtp-source'), [...options.split(' '), `127.0.0.1:${epost.port('mx')}`]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    await until('all are there', async () => {
      const all = await alice.messages();
      return all.filter(({ bytes }) => bytes.includes('Subject: smtp-source')).length === count;
    });
  });
});

describe('a message from outside', () => {
  test('is removed of fields that pretend to be ours, and of nothing else', async () => {
    const client = await mxClient(epost.port('mx'));
    const id = newMessageId();
    const forged = message({
      from: 'friend@sender.test',
      to: 'alice@example.org',
      subject: 'trust me',
      messageId: id,
      fields: [
        'Authentication-Results: mx.example.org; dmarc=pass header.from=bank.test',
        'Authentication-Results: mx.elsewhere.test; dmarc=pass header.from=kept.test',
        'X-ePOST-Trace: 0000000000000000',
      ],
    });
    expect((await client.send({ from: 'friend@sender.test', to: ['alice@example.org'] }, forged)).code).toBe(250);
    await client.quit();
    const text = (await alice.waitForText(id)).bytes.toString();
    expect(text).not.toMatch(/header\.from=bank\.test/);
    expect(text).not.toMatch(/0000000000000000/);
    expect(text).toMatch(/header\.from=kept\.test/);
  });

  test('with several authors is refused, since a program would show only one', async () => {
    const client = await mxClient(epost.port('mx'));
    const two = message({ from: 'a@sender.test, b@sender.test', to: 'alice@example.org', subject: 'two' });
    expect(await client.send({ from: 'a@sender.test', to: ['alice@example.org'] }, two)).toMatchObject({ code: 550 });
    await client.quit();
  });

  test('is verified long after, without DNS: record, octets and DKIM signature, by `epost trace --verify`', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'epost-signed-'));
    const [key] = await createDkimKeys(folder, 'k');
    if (key === undefined) throw new Error('no key');
    const { name, strings } = dkimRecord(key, 'sender.test');
    outside.dns.add({ [name]: { TXT: [strings] } });
    const id = newMessageId();
    const mail = message({ from: 'friend@sender.test', to: 'alice@example.org', subject: 'kept', messageId: id });
    const signatures = await dkimSignatures(mail, { domain: 'sender.test', keys: [key], now: Date.now() });
    const client = await mxClient(epost.port('mx'));
    const signed = Buffer.concat([signatures, mail]);
    expect((await client.send({ from: 'friend@sender.test', to: ['alice@example.org'] }, signed)).code).toBe(250);
    await client.quit();
    const { bytes } = await alice.waitForText(id);
    outside.dns.add({ [name]: {} });
    const trace = field(bytes, 'X-ePOST-Trace') ?? '';
    const file = path.join(folder, 'message.eml');
    await writeFile(file, bytes);
    const good = await home.run('trace', trace, '--verify', '--message', file);
    expect(good).toMatchObject({ code: 0, err: '' });
    expect(good.out).toMatch(/^holds +record: signed by gateway@example\.org/m);
    expect(good.out).toMatch(/^holds +message: every octet/m);
    expect(good.out).toMatch(/^holds +dkim kr\._domainkey\.sender\.test: pass, with the key of that day/m);
    expect(good.out).toMatch(/^holds +certificate: gateway@example\.org/m);
    await writeFile(file, bytes.toString('latin1').replace('It works', 'It w0rks'), 'latin1');
    const bad = await home.run('trace', trace, '--verify', '--message', file, '--json');
    expect(bad.code).toBe(1);
    expect(JSON.parse(bad.out)).toMatchObject({ verified: false });
    expect((await home.run('trace', '0000000000000000', '--verify')).code).toBe(3);
    await rm(folder, { recursive: true });
  });

  test('for both users is delivered to both, once each', async () => {
    const client = await mxClient(epost.port('mx'));
    const id = newMessageId();
    const both = message({
      from: 'friend@sender.test',
      to: 'alice@example.org, bob@example.org',
      subject: 'both',
      messageId: id,
    });
    const to = ['alice@example.org', 'bob@example.org', 'ALICE@EXAMPLE.ORG'];
    expect((await client.send({ from: 'friend@sender.test', to }, both)).code).toBe(250);
    await client.quit();
    const bob = await MailProgram.open(epost, 'bob@example.org');
    await bob.waitForText(id);
    await alice.waitForText(id);
    for (const mailbox of [alice, bob])
      expect((await mailbox.messages()).filter(({ bytes }) => bytes.includes(id))).toHaveLength(1);
    bob.close();
  });

  test('for the postmaster goes to whom the configuration says', async () => {
    const client = await mxClient(epost.port('mx'));
    const id = newMessageId();
    const mail = message({ from: 'friend@sender.test', to: 'postmaster@example.org', subject: 'rules', messageId: id });
    expect((await client.send({ from: 'friend@sender.test', to: ['postmaster@example.org'] }, mail)).code).toBe(250);
    await client.quit();
    await alice.waitForText(id);
  });

  test('whose sender may not be believed, by the domain itself, lies in Junk', async () => {
    outside.dns.add({
      'careful.test': { TXT: ['v=spf1 -all'] },
      '_dmarc.careful.test': { TXT: ['v=DMARC1; p=quarantine'] },
    });
    const client = await mxClient(epost.port('mx'));
    const id = newMessageId();
    const mail = message({ from: 'x@careful.test', to: 'alice@example.org', subject: 'hm', messageId: id });
    expect((await client.send({ from: 'x@careful.test', to: ['alice@example.org'] }, mail)).code).toBe(250);
    await client.quit();
    await alice.waitForText(id, 'Junk');
    expect((await alice.messages()).some(({ bytes }) => bytes.includes(id))).toBe(false);
  });
});
