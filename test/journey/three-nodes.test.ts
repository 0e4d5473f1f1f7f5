import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { mxClient, submissionClient } from './fixtures/smtp-client.ts';
import { until } from './fixtures/until.ts';

// Three machines of one ring: the first with the authority, bob and the gateway; the second is alice's; the third nobody's.
let outside: Outside;
let homes: { first: TestHome; alices: TestHome; third: TestHome };
let first: RunningEpost;
let alices: RunningEpost;

beforeAll(async () => {
  outside = await startOutside();
  homes = {
    first: await TestHome.make({ flags: outside.flags }),
    alices: await TestHome.make(),
    third: await TestHome.make(),
  };
  first = await homes.first.up();
  alices = await homes.alices.join(await invitation('--user', 'alice@example.org'), homes.first);
  await homes.third.join(await invitation(), homes.first);
  await until('all three see each other', async () => {
    const counts = await Promise.all(Object.values(homes).map(membersUp));
    return counts.every((count) => count === 3);
  });
}, 120_000);

afterAll(async () => {
  await Promise.all(Object.values(homes ?? {}).map((home) => home.remove()));
  await outside?.close();
});

async function invitation(...args: string[]): Promise<string> {
  const { code, out, err } = await homes.first.run('node', 'invite', '--json', ...args);
  expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' });
  return (JSON.parse(out) as { invite: string }).invite;
}

async function membersUp(home: TestHome): Promise<number> {
  const { code, out } = await home.run('status', '--json');
  if (code !== 0) return 0;
  return (JSON.parse(out) as { members: { up: boolean }[] }).members.filter(({ up }) => up).length;
}

/** One message by SMTP from outside to alice; its Message-ID, once it was taken. */
async function mailToAlice(subject: string, body?: string): Promise<string> {
  const id = newMessageId();
  const client = await mxClient(first.port('mx'));
  const to = 'alice@example.org';
  const mail = message({
    from: 'friend@sender.test',
    to,
    subject,
    messageId: id,
    ...(body === undefined ? {} : { body }),
  });
  expect(await client.send({ from: 'friend@sender.test', to: [to] }, mail)).toMatchObject({ code: 250 });
  await client.quit();
  return id;
}

const copies = async (program: MailProgram, id: string): Promise<number> =>
  (await program.messages()).filter(({ bytes }) => bytes.includes(id)).length;

describe('a ring of three machines', () => {
  test('alice reads on her own machine what came in at the first, and no longer on the first', async () => {
    const id = await mailToAlice('to your own machine');
    const alice = await MailProgram.open(alices, 'alice@example.org');
    await alice.waitForText(id);
    alice.close();
    await expect(
      submissionClient(first.port('submission'), 'alice@example.org', alices.password('alice@example.org')),
    ).rejects.toThrow(/535/);
  });

  test('what alice sends from there reaches bob, and the world through the gateway of the first', async () => {
    const client = await submissionClient(
      alices.port('submission'),
      'alice@example.org',
      alices.password('alice@example.org'),
    );
    const id = newMessageId();
    const to = ['bob@example.org', 'friend@foreign.test'];
    const mail = message({ from: 'alice@example.org', to: to.join(', '), subject: 'from afar', messageId: id });
    expect(await client.send({ from: 'alice@example.org', to }, mail)).toMatchObject({ code: 250 });
    await client.quit();
    const bob = await MailProgram.open(first, 'bob@example.org');
    await bob.waitForText(id);
    bob.close();
    await until('the world has it', () => outside.mx.to('friend@foreign.test').length === 1);
  });

  test('an alias of the gateway is known on every machine: to write to, and to write as for whom it leads to', async () => {
    const sender = async (epost: RunningEpost, user: string) =>
      submissionClient(epost.port('submission'), user, alices.password(user));
    const [asAlice, asBob] = [await sender(alices, 'alice@example.org'), await sender(first, 'bob@example.org')];
    const [out, back] = [newMessageId(), newMessageId()];
    const from = 'postmaster@example.org';
    const to = ['bob@example.org', 'postmasters-friend@foreign.test'];
    const written = message({ from, to: to.join(', '), subject: 'from the office', messageId: out });
    expect(await asAlice.send({ from, to }, written)).toMatchObject({ code: 250 });
    const bob = await MailProgram.open(first, 'bob@example.org');
    await bob.waitForText(out);
    bob.close();
    await until('the world has it', () => outside.mx.to('postmasters-friend@foreign.test').length === 1);
    // It leads to alice, not to him.
    expect(await asBob.send({ from, to: ['alice@example.org'] }, written)).toMatchObject({ code: 550 });
    const answer = message({ from: 'alice@example.org', to: 'Abuse+x@example.org', subject: 'x', messageId: back });
    expect(await asAlice.send({ from: 'alice@example.org', to: ['Abuse+x@example.org'] }, answer)).toMatchObject({
      code: 250,
    });
    const alice = await MailProgram.open(alices, 'alice@example.org');
    await alice.waitForText(back);
    alice.close();
    const nobody = await asAlice.send({ from: 'alice@example.org', to: ['webmaster@example.org'] }, answer);
    expect(nobody).toMatchObject({ code: 550, text: expect.stringContaining('5.1.1') });
    await Promise.all([asAlice.quit(), asBob.quit()]);
  });

  test('whom the authority blocks is blocked within a minute at alice’s machine and at the gateway, until he is released', async () => {
    const bob = await MailProgram.open(first, 'bob@example.org');
    const to = ['alice@example.org', 'friend@foreign.test'];
    const send = async (subject: string): Promise<string> => {
      const client = await submissionClient(
        first.port('submission'),
        'bob@example.org',
        first.password('bob@example.org'),
      );
      const id = newMessageId();
      const mail = message({ from: 'bob@example.org', to: to.join(', '), subject, messageId: id });
      expect(await client.send({ from: 'bob@example.org', to }, mail)).toMatchObject({ code: 250 });
      await client.quit();
      return id;
    };
    /** Who had refused it, once both alice's node and the gateway have. */
    const refused = async (subject: string): Promise<boolean> => {
      await send(subject);
      const told = await until(
        'bob is told',
        async () => {
          const mail = (await bob.messages()).filter(({ bytes }) => bytes.includes(`Subject: ${subject}`));
          return mail.length > 0 ? mail.map(({ bytes }) => bytes.toString()).join('') : undefined;
        },
        20_000,
      ).catch(() => '');
      return to.every((address) => told.includes(address)) && told.includes('blocked-everywhere');
    };
    const blockedAt = Date.now();
    expect(await homes.first.run('identity', 'block', 'bob@example.org')).toMatchObject({ code: 0 });
    let tries = 0;
    await until('both refuse', async () => refused(`blocked ${(tries += 1)}`), 60_000);
    expect(Date.now() - blockedAt).toBeLessThan(60_000);
    expect(await homes.first.run('identity', 'release', 'bob@example.org')).toMatchObject({ code: 0 });
    const alice = await MailProgram.open(alices, 'alice@example.org');
    await until(
      'alice hears from him again',
      async () => {
        const id = await send('free');
        return alice.waitForText(id).then(
          () => true,
          () => false,
        );
      },
      60_000,
    );
    alice.close();
    bob.close();
  }, 180_000);

  test('mail that comes while alice’s machine is dead is in her inbox, once, when it is back', async () => {
    await alices.kill9('all');
    const id = await mailToAlice('while you were out');
    await until('the gateway has put it into the ring', queueIsEmpty);
    alices = await homes.alices.up();
    const alice = await MailProgram.open(alices, 'alice@example.org');
    await alice.waitForText(id);
    // Once more after everything has had the time to be pushed, pulled and pushed again.
    await mailToAlice('later').then((later) => alice.waitForText(later));
    expect(await copies(alice, id)).toBe(1);
    alice.close();
  });

  test('a message stays readable when the machine that took it in is killed and its disk is gone', async () => {
    const body = `${'All of it must be there. '.repeat(8)}\r\n`.repeat(2_000);
    const id = await mailToAlice('will outlive the gateway', body);
    const seen = await MailProgram.open(alices, 'alice@example.org');
    await seen.waitForText(id);
    seen.close();
    await first.kill9('all');
    await rm(homes.first.folder, { recursive: true });
    // Without what her node may still have in memory.
    await alices.kill9('all');
    alices = await homes.alices.up();
    const alice = await MailProgram.open(alices, 'alice@example.org');
    const got = await alice.waitForText(id);
    expect(got.bytes.toString().endsWith(body)).toBe(true);
    alice.close();
  });

  test('alice still saves a draft, with two machines left of three', async () => {
    const alice = await MailProgram.open(alices, 'alice@example.org');
    await alice.imap.append('Drafts', 'Subject: still here\r\n\r\nx\r\n', ['\\Draft']);
    expect(await alice.messages('Drafts')).toHaveLength(1);
    alice.close();
  });
});

async function queueIsEmpty(): Promise<boolean> {
  const { code, out } = await homes.first.run('queue', 'list', '--json');
  return code === 0 && (JSON.parse(out) as { jobs: unknown[] }).jobs.length === 0;
}
