import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { field, message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { submissionClient } from './fixtures/smtp-client.ts';
import { until } from './fixtures/until.ts';

// Three machines: the first with the authority, the gateway and the lists; alice's; bob's.
let outside: Outside;
let homes: { first: TestHome; alices: TestHome; bobs: TestHome };
let first: RunningEpost;
let alices: RunningEpost;
let bob: MailProgram;

beforeAll(async () => {
  outside = await startOutside();
  homes = {
    first: await TestHome.make({ flags: outside.flags }),
    alices: await TestHome.make(),
    bobs: await TestHome.make(),
  };
  first = await homes.first.up();
  const invitation = async (user: string): Promise<string> =>
    ((await run(homes.first, 'node', 'invite', '--user', user)) as { invite: string }).invite;
  alices = await homes.alices.join(await invitation('alice@example.org'), homes.first);
  const bobs = await homes.bobs.join(await invitation('bob@example.org'), homes.first);
  await until('all three see each other', async () => {
    const seen = await Promise.all(Object.values(homes).map(async (home) => run(home, 'status')));
    return seen.every((one) => (one as { members: { up: boolean }[] }).members.filter(({ up }) => up).length === 3);
  });
  bob = await MailProgram.open(bobs, 'bob@example.org');
  for (const [list, members] of [
    ['open@example.org', 'public'],
    ['closed@example.org', 'private'],
  ] as const) {
    await run(homes.first, 'list', 'create', list, '--owner', 'alice@example.org', '--members', members);
    await run(homes.first, 'list', 'add', list, 'alice@example.org,bob@example.org');
  }
}, 180_000);

afterAll(async () => {
  bob?.close();
  await Promise.all(Object.values(homes ?? {}).map((home) => home.remove()));
  await outside?.close();
});

async function run(home: TestHome, ...args: string[]): Promise<unknown> {
  const { code, out, err } = await home.run(...args, '--json');
  if (code !== 0) throw new Error(`epost ${args.join(' ')} failed (${code}): ${err}`);
  return JSON.parse(out);
}

/** Alice writes from her machine; the Message-ID. */
async function post(to: string, from = 'alice@example.org'): Promise<string> {
  const id = newMessageId();
  const user = 'alice@example.org';
  const client = await submissionClient(alices.port('submission'), user, alices.password(user));
  const bytes = message({ from, to, subject: 'to a list', messageId: id });
  expect(await client.send({ from, to: [to] }, bytes)).toMatchObject({ code: 250 });
  await client.quit();
  return id;
}

describe('lists of another machine', () => {
  test('are shown everywhere; who belongs to them, where they are public', async () => {
    expect(await run(homes.alices, 'list', 'members', 'open@example.org')).toEqual([
      'alice@example.org',
      'bob@example.org',
    ]);
    expect(await run(homes.alices, 'list', 'show', 'closed@example.org')).toMatchObject([
      { posting: 'ring', members: 'private', here: false },
    ]);
    const { code, err } = await homes.alices.run('list', 'members', 'closed@example.org');
    expect([code, err]).toEqual([1, expect.stringContaining('are private')]);
  });

  test('get posts, and are written in the name of by their owner, from wherever he is', async () => {
    for (const list of ['open', 'closed']) {
      const { bytes } = await bob.waitForText(await post(`${list}@example.org`));
      expect(field(bytes, 'List-Id')).toBe(`<${list}.example.org>`);
    }
    const { bytes } = await bob.waitForText(await post('bob@example.org', 'closed@example.org'));
    expect(field(bytes, 'From')).toBe('closed@example.org');
  });

  test('are changed by their owner from his own machine, and by nobody else', async () => {
    await run(homes.alices, 'list', 'add', 'closed@example.org', 'Carol@foreign.test');
    expect(await run(homes.first, 'list', 'members', 'closed@example.org')).toContain('Carol@foreign.test');
    const { code, err } = await homes.bobs.run('list', 'add', 'closed@example.org', 'eve@foreign.test');
    expect([code, err]).toEqual([3, expect.stringContaining('none of its owners has his mailbox here')]);
    await run(homes.alices, 'list', 'remove', 'closed@example.org', 'carol@foreign.test');
  });

  test('whose members are public need not that machine; the others wait for it', { timeout: 180_000 }, async () => {
    await first.kill9('all');
    const [open, closed] = [await post('open@example.org'), await post('closed@example.org')];
    await bob.waitForText(open);
    expect((await bob.messages()).filter(({ bytes }) => bytes.includes(closed))).toEqual([]);
    first = await homes.first.up();
    await bob.waitForText(closed, 'INBOX', 60_000);
  });
});
