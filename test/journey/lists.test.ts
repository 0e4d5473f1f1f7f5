import { afterAll, beforeAll, describe, expect, test } from 'vitest';
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

/** A command that is to succeed; its answer. */
async function run(...args: string[]): Promise<unknown> {
  const { code, out, err } = await home.run(...args, '--json');
  if (code !== 0) throw new Error(`epost ${args.join(' ')} failed (${code}): ${err}`);
  return JSON.parse(out);
}

async function submit(
  user: string,
  to: string,
  more: { from?: string; fields?: string[] } = {},
): Promise<{ id: string; reply: string }> {
  const id = newMessageId();
  const { from = user, fields = [] } = more;
  const client = await submissionClient(epost.port('submission'), user, epost.password(user));
  const bytes = message({ from, to, subject: 'to a list', messageId: id, fields });
  const { text } = await client.send({ from, to: [to] }, bytes);
  await client.quit();
  return { id, reply: text };
}

/** As another mail server would bring it. */
async function bring(to: string, from = 'friend@sender.test'): Promise<{ id: string; reply: string }> {
  const id = newMessageId();
  const client = await mxClient(epost.port('mx'));
  const { text } = await client.send({ from, to: [to] }, message({ from, to, subject: 'to a list', messageId: id }));
  await client.quit();
  return { id, reply: text };
}

/** What came to a recipient outside, as soon as it is there. */
async function outsideOf(recipient: string, id: string): Promise<Arrival> {
  return until(`${recipient} has it`, () => outside.mx.to(recipient).find(({ messageId }) => messageId === id));
}

describe('a list of two users and somebody on the Internet', () => {
  beforeAll(async () => {
    await run('list', 'create', 'staff@example.org', '--owner', 'alice@example.org', '--posting', 'anyone');
    await run('list', 'add', 'staff@example.org', 'alice@example.org,bob@example.org,Carol@foreign.test');
  });

  test('is shown, with its members', async () => {
    expect(await run('list', 'show')).toMatchObject([
      { address: 'staff@example.org', posting: 'anyone', owners: ['alice@example.org'], here: true },
    ]);
    expect(await run('list', 'members', 'staff@example.org')).toEqual([
      'alice@example.org',
      'bob@example.org',
      'Carol@foreign.test',
    ]);
  });

  test('gets a post by a user, with the fields of the list; outside it is signed by the ring', async () => {
    const { id, reply } = await submit('bob@example.org', 'staff@example.org');
    expect(reply).toMatch(/^250 /);
    const got = await Promise.all([alice.waitForText(id), bob.waitForText(id)]);
    for (const { bytes } of got) expect(field(bytes, 'List-Id')).toBe('<staff.example.org>');
    const arrived = await outsideOf('carol@foreign.test', id);
    expect(arrived.from).toMatch(/^prvs=.*=staff@example\.org$/);
    expect(field(arrived.bytes, 'List-Post')).toBe('<mailto:staff@example.org>');
    expect(field(arrived.bytes, 'From')).toBe('bob@example.org');
    expect(field(arrived.bytes, 'DKIM-Signature')).toContain('d=example.org');
  });

  test.skipIf(missingPython('dkim'))(
    'gets a post from the Internet; outside it is sealed (ARC), and dkimpy verifies it',
    async () => {
      const { id, reply } = await bring('staff@example.org');
      expect(reply).toMatch(/^250 /);
      const got = await Promise.all([alice.waitForText(id), bob.waitForText(id)]);
      for (const { bytes } of got) expect(field(bytes, 'List-Id')).toBe('<staff.example.org>');
      const arrived = await outsideOf('carol@foreign.test', id);
      expect(arrived.from).toMatch(/^prvs=.*=staff@example\.org$/);
      expect(field(arrived.bytes, 'ARC-Authentication-Results')).toMatch(/^i=1; mx\.example\.org; spf=pass/);
      expect(field(arrived.bytes, 'From')).toBe('friend@sender.test');
      expect(await dkimpyChain(arrived.bytes, home)).toBe('pass');
    },
  );

  test('what a member’s host refuses is told to the owner, and not to who wrote it', async () => {
    outside.mx.refuse('carol@foreign.test', { code: 550, text: '5.1.1 no such user here' });
    const { id } = await submit('bob@example.org', 'staff@example.org');
    const notice = await alice.waitFor(
      'the notice',
      ({ bytes }) => bytes.includes('multipart/report') && bytes.includes(id),
    );
    expect(notice.bytes.toString()).toMatch(/^Final-Recipient: rfc822; ?Carol@foreign\.test\r$/m);
    await bob.waitForText(id);
    expect((await bob.messages()).filter(({ bytes }) => bytes.includes('multipart/report'))).toEqual([]);
  });

  test('a bounce that comes back later goes to the owner; a forged one is refused in the session', async () => {
    const { id } = await submit('bob@example.org', 'staff@example.org');
    const { from } = await outsideOf('carol@foreign.test', id);
    const client = await mxClient(epost.port('mx'));
    const bounce = bounceOf('carol@foreign.test', id);
    expect(await client.send({ from: '', to: [from] }, bounce)).toMatchObject({ code: 250 });
    const forged = await client.send({ from: '', to: ['staff@example.org'] }, bounce);
    expect(forged).toMatchObject({ code: 550 });
    await client.quit();
    await alice.waitFor('the notice', ({ bytes }) => bytes.includes('mailbox is full') && bytes.includes(id));
  });
});

describe('a list for some', () => {
  beforeAll(async () => {
    await run('list', 'create', 'inner@example.org', '--owner', 'alice@example.org', '--members', 'public');
    await run('list', 'add', 'inner@example.org', 'bob@example.org');
    await run('list', 'create', 'board@example.org', '--owner', 'alice@example.org', '--posting', 'owners');
    await run('list', 'add', 'board@example.org', 'bob@example.org');
  });

  test('of the ring refuses strangers at RCPT, and says why', async () => {
    expect((await bring('inner@example.org')).reply).toMatch(/^550 5\.7\.2 /);
    const { id } = await submit('alice@example.org', 'inner@example.org');
    await bob.waitForText(id);
  });

  test('with public members is expanded by the sender’s node', async () => {
    const { id } = await submit('alice@example.org', 'inner@example.org');
    const { bytes } = await bob.waitForText(id);
    expect(field(bytes, 'List-Id')).toBe('<inner.example.org>');
    expect(epost.log).not.toMatch(/"list":"inner@example\.org","members":\d+/);
  });

  test('of its owners refuses others at RCPT, and says why', async () => {
    expect((await submit('bob@example.org', 'board@example.org')).reply).toMatch(/^550 5\.7\.2 /);
    const { id } = await submit('alice@example.org', 'board@example.org');
    await bob.waitForText(id);
  });

  test('of its members takes posts of members on the Internet whose domain vouches for them', async () => {
    await run('list', 'create', 'team@example.org', '--owner', 'alice@example.org', '--posting', 'members');
    await run('list', 'add', 'team@example.org', 'alice@example.org');
    expect((await bring('team@example.org')).reply).toMatch(/^550 5\.7\.2 only its members/);
    await run('list', 'add', 'team@example.org', 'friend@sender.test');
    const { id, reply } = await bring('team@example.org');
    expect(reply).toMatch(/^250 /);
    await alice.waitForText(id);
  });

  test('takes no member that the ring does not know', async () => {
    const { code, err } = await home.run('list', 'add', 'team@example.org', 'nobody@example.org');
    expect([code, err]).toEqual([3, expect.stringContaining('nobody@example.org as a member: the ring has no such')]);
  });

  test('says who was to be taken off and was not on it', async () => {
    const none = await home.run('list', 'remove', 'team@example.org', 'stranger@sender.test');
    expect(none).toMatchObject({
      code: 3,
      out: '',
      err: expect.stringContaining('not on team@example.org: stranger@'),
    });
    const some = await home.run(
      'list',
      'remove',
      'team@example.org',
      'stranger@sender.test,Friend@sender.test',
      '--json',
    );
    expect(some.code).toBe(0);
    expect(JSON.parse(some.out)).toMatchObject({ remove: ['Friend@sender.test'], wereNone: ['stranger@sender.test'] });
  });

  test('in a list brings a post to an address outside once', async () => {
    await run('list', 'create', 'all@example.org', '--owner', 'alice@example.org');
    await run('list', 'add', 'all@example.org', 'staff@example.org,Carol@foreign.test');
    const { id } = await submit('bob@example.org', 'all@example.org');
    await outsideOf('carol@foreign.test', id);
    await until('the second one is known', () => epost.log.includes('sent-before'));
    expect(outside.mx.to('carol@foreign.test').filter(({ messageId }) => messageId === id)).toHaveLength(1);
    expect((await bob.messages()).filter(({ bytes }) => bytes.includes(id))).toHaveLength(1);
  });

  test('has a new certificate when it is renewed, and goes on', async () => {
    const { until: before } = (await run('list', 'renew', 'staff@example.org')) as { until: string };
    expect(Date.parse(before)).toBeGreaterThan(Date.now() + 800 * 86_400_000);
    const { id } = await submit('alice@example.org', 'staff@example.org');
    await bob.waitForText(id);
  });

  test('of its members tells who is none the rule', async () => {
    const { id } = await submit('bob@example.org', 'team@example.org');
    const notice = await bob.waitFor(
      'the notice',
      ({ bytes }) => bytes.includes('multipart/report') && bytes.includes(id),
    );
    expect(notice.bytes.toString()).toContain('list-takes-posts-of-members');
    await run('list', 'set', 'team@example.org', '--posting', 'ring', '--owner', 'alice@example.org,bob@example.org');
    expect(await run('list', 'show', 'team@example.org')).toMatchObject([
      { posting: 'ring', owners: ['alice@example.org', 'bob@example.org'] },
    ]);
  });

  test('is gone when it was deleted', async () => {
    await run('list', 'create', 'brief@example.org', '--owner', 'alice@example.org', '--posting', 'anyone');
    await run('list', 'add', 'brief@example.org', 'bob@example.org');
    await run('list', 'delete', 'brief@example.org');
    await until('it is refused', async () => /^550 5\.(?:1\.1|2\.1) /.test((await bring('brief@example.org')).reply));
    const { code } = await home.run('list', 'show', 'brief@example.org');
    expect(code).toBe(3);
  });

  test('is written in the name of by its owner, and by nobody else', async () => {
    const { id, reply } = await submit('alice@example.org', 'bob@example.org', { from: 'board@example.org' });
    expect(reply).toMatch(/^250 /);
    expect(field((await bob.waitForText(id)).bytes, 'From')).toBe('board@example.org');
    const out = await submit('alice@example.org', 'friend@foreign.test', { from: 'board@example.org' });
    expect((await outsideOf('friend@foreign.test', out.id)).from).toMatch(/=board@example\.org$/);
    expect((await submit('bob@example.org', 'alice@example.org', { from: 'board@example.org' })).reply).toMatch(
      /^550 5\.7\.1 you may not send as board@example\.org/,
    );
  });
});
