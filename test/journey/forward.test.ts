import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { missingPython } from '../needs.ts';
import { dkimpyChain } from './fixtures/dkimpy.ts';
import type { Arrival } from './fixtures/foreign-mx.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { bounceOf, field, message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { mxClient, submissionClient } from './fixtures/smtp-client.ts';
import { until } from './fixtures/until.ts';

let outside: Outside;
let home: TestHome;
let epost: RunningEpost;
let alice: MailProgram;
let bob: MailProgram;

beforeAll(async () => {
  outside = await startOutside();
  // They take mail, too: what comes back to their senders goes there. The second one says nothing of DMARC.
  const MX = [{ preference: 10, exchange: 'mx.foreign.test' }];
  const TXT = ['v=spf1 ip4:127.0.0.1 -all'];
  outside.dns.add({ 'sender.test': { TXT, MX }, 'loose.test': { TXT, MX }, 'unproven.test': { MX } });
  home = await TestHome.make({ flags: outside.flags });
  epost = await home.up();
  alice = await MailProgram.open(epost, 'alice@example.org');
  bob = await MailProgram.open(epost, 'bob@example.org');
});

afterEach(async () => {
  for (const user of ['alice@example.org', 'bob@example.org']) await run('forward', 'clear', user);
});

afterAll(async () => {
  alice?.close();
  bob?.close();
  await home?.remove();
  await outside?.close();
});

async function run(...args: string[]): Promise<unknown> {
  const { code, out, err } = await home.run(...args, '--json');
  if (code !== 0) throw new Error(`epost ${args.join(' ')} failed (${code}): ${err}`);
  return JSON.parse(out);
}

async function submit(user: string, to: string): Promise<string> {
  const id = newMessageId();
  const client = await submissionClient(epost.port('submission'), user, epost.password(user));
  const bytes = message({ from: user, to, subject: 'to be forwarded', messageId: id });
  expect(await client.send({ from: user, to: [to] }, bytes)).toMatchObject({ code: 250 });
  await client.quit();
  return id;
}

/** As another mail server would bring it. */
async function bring(to: string, from: string, bytes: Uint8Array): Promise<{ code: number; text: string }> {
  const client = await mxClient(epost.port('mx'));
  const reply = await client.send({ from, to: [to] }, bytes);
  await client.quit();
  return reply;
}

async function bringFrom(author: string, to: string, more: { sender?: string; body?: string } = {}): Promise<string> {
  const id = newMessageId();
  const draft = { from: author, to, subject: 'to be forwarded', messageId: id };
  expect(await bring(to, more.sender ?? author, message(draft))).toMatchObject({ code: 250 });
  return id;
}

async function outsideOf(recipient: string, id: string): Promise<Arrival> {
  return until(`${recipient} has it`, () => outside.mx.to(recipient).find(({ bytes }) => bytes.includes(id)));
}

describe('a forwarding in the ring', () => {
  test('is set, shown and cleared', async () => {
    const set = { user: 'alice@example.org', to: ['bob@example.org'], keep: true };
    expect(await run('forward', 'set', 'alice@example.org', 'bob@example.org')).toEqual(set);
    expect(await run('forward', 'show', 'alice@example.org')).toEqual(set);
    expect(await run('forward', 'clear', 'alice@example.org')).toMatchObject({ to: [] });
    const { code, err } = await home.run('forward', 'set', 'alice@example.org', 'alice@example.org');
    expect([code, err]).toEqual([1, expect.stringContaining('it is the address that is to be forwarded')]);
    const nobody = await home.run('forward', 'show', 'nobody@example.org');
    expect(nobody).toMatchObject({ code: 3, err: expect.stringContaining('has no mailbox on this machine') });
  });

  test('brings what a stranger wrote to bob, as it was, and a copy stays', async () => {
    await run('forward', 'set', 'alice@example.org', 'bob@example.org');
    const id = await bringFrom('friend@sender.test', 'alice@example.org');
    const [here, there] = await Promise.all([alice.waitForText(id), bob.waitForText(id)]);
    expect(there.bytes.toString()).toBe(`Delivered-To: alice@example.org\r\n${here.bytes.toString()}`);
  });

  test('of two who forward to each other comes to an end, and loses nothing', async () => {
    await run('forward', 'set', 'alice@example.org', 'bob@example.org', '--no-copy');
    await run('forward', 'set', 'bob@example.org', 'alice@example.org', '--no-copy');
    const id = await bringFrom('friend@sender.test', 'alice@example.org');
    const back = await alice.waitForText(id);
    expect(back.bytes.toString()).toMatch(/^Delivered-To: bob@example\.org\r\nDelivered-To: alice@example\.org\r\n/);
    expect((await bob.messages()).filter(({ bytes }) => bytes.includes(id))).toEqual([]);
    expect((await alice.messages()).filter(({ bytes }) => bytes.includes(id))).toHaveLength(1);
  });
});

describe('a forwarding to the Internet', () => {
  test.skipIf(missingPython('dkim'))(
    'of mail from the Internet is sealed (dkimpy verifies it) and leaves under a return path that SPF allows us',
    async () => {
      await run('forward', 'set', 'alice@example.org', 'alice@foreign.test', '--no-copy');
      const id = await bringFrom('friend@sender.test', 'alice@example.org');
      const { bytes, from } = await outsideOf('alice@foreign.test', id);
      expect(from).toMatch(/^SRS0=[a-z2-7]{8}=[a-z2-7]{2}=sender\.test=friend@example\.org$/);
      expect(field(bytes, 'From')).toBe('friend@sender.test');
      expect(field(bytes, 'Delivered-To')).toBe('alice@example.org');
      expect(field(bytes, 'ARC-Authentication-Results')).toMatch(/^i=1; mx\.example\.org; spf=pass.*dmarc=pass/);
      expect(field(bytes, 'X-ePOST-Trace')).toBeUndefined();
      expect(await dkimpyChain(bytes, home)).toBe('pass');
      expect(await dkimpyChain(Buffer.from(bytes.toString('latin1').replace('It works', 'It w0rks')), home)).not.toBe(
        'pass',
      );
      expect((await alice.messages()).filter((one) => one.bytes.includes(id))).toEqual([]);
    },
  );

  test('sends a bounce that comes back on to the sender, and takes nothing else at that address', async () => {
    await run('forward', 'set', 'alice@example.org', 'full@foreign.test');
    const id = await bringFrom('friend@sender.test', 'alice@example.org');
    const { from } = await outsideOf('full@foreign.test', id);
    expect(await bring(from, '', bounceOf('full@foreign.test', id))).toMatchObject({ code: 250 });
    const back = await outsideOf('friend@sender.test', id);
    expect(back.from).toBe('');
    expect(back.bytes.includes('mailbox is full')).toBe(true);
    // No report, so it goes nowhere: whoever has the address cannot make us send what he likes.
    const spam = newMessageId();
    const draft = { from: 'x@foreign.test', to: from, subject: 'buy', messageId: spam };
    await bring(from, '', message(draft));
    await until('it is dropped', () => epost.log.includes('"dropped"'));
    expect((await bring(from, 'x@foreign.test', message(draft))).text).toMatch(/^550 5\.7\.1 /);
    expect((await bring(from.replace('sender.test', 'victim.test'), '', message(draft))).text).toMatch(/^550 5\.7\.1 /);
    expect(outside.mx.arrivals.filter(({ bytes }) => bytes.includes(spam))).toEqual([]);
  });

  test('tells the sender what the other host refuses', async () => {
    outside.mx.refuse('gone@foreign.test', { code: 550, text: '5.1.1 no such user here' });
    await run('forward', 'set', 'alice@example.org', 'gone@foreign.test');
    const id = await bringFrom('friend@sender.test', 'alice@example.org');
    const back = await outsideOf('friend@sender.test', id);
    expect(back.from).toBe('');
    expect(back.bytes.toString()).toMatch(/^Final-Recipient: rfc822; gone@foreign\.test\r$/m);
  });

  test('keeps from telling a sender who was not proven: the forwarder hears of it', async () => {
    outside.mx.refuse('gone@foreign.test', { code: 550, text: '5.1.1 no such user here' });
    await run('forward', 'set', 'alice@example.org', 'gone@foreign.test');
    const id = await bringFrom('somebody@unproven.test', 'alice@example.org');
    await alice.waitFor('the notice', ({ bytes }) => bytes.includes('multipart/report') && bytes.includes(id));
    expect(outside.mx.to('somebody@unproven.test')).toEqual([]);
  });

  test('of what somebody in the ring wrote is signed by the ring, and comes back to him', async () => {
    await run('forward', 'set', 'alice@example.org', 'alice@foreign.test');
    const id = await submit('bob@example.org', 'alice@example.org');
    const { bytes, from } = await outsideOf('alice@foreign.test', id);
    expect(from).toMatch(/^prvs=.*=bob@example\.org$/);
    expect(field(bytes, 'DKIM-Signature')).toContain('d=example.org');
    expect(field(bytes, 'ARC-Seal')).toBeUndefined();
  });

  test('of one who has his mail forwarded back comes to an end at the second time', async () => {
    await run('forward', 'set', 'alice@example.org', 'loop@foreign.test', '--no-copy');
    const id = await bringFrom('friend@loose.test', 'alice@example.org');
    const { bytes, from } = await outsideOf('loop@foreign.test', id);
    // What a forwarder elsewhere does.
    expect(await bring('alice@example.org', from, bytes)).toMatchObject({ code: 250 });
    await until('it is in a folder of alice', async () => {
      const folders = await Promise.all(['INBOX', 'Junk'].map((folder) => alice.messages(folder)));
      return folders.flat().some((one) => one.bytes.includes(id));
    });
    expect(outside.mx.to('loop@foreign.test').filter((one) => one.bytes.includes(id))).toHaveLength(1);
  });
});
