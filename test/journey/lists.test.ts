import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { field, message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { mxClient, submissionClient } from './fixtures/smtp-client.ts';

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
  const { code, text } = await client.send({ from, to: [to] }, bytes);
  await client.quit();
  return { id, reply: `${code} ${text}` };
}

/** As another mail server would bring it. */
async function bring(to: string, from = 'friend@sender.test'): Promise<{ id: string; reply: string }> {
  const id = newMessageId();
  const client = await mxClient(epost.port('mx'));
  const { code, text } = await client.send(
    { from, to: [to] },
    message({ from, to, subject: 'to a list', messageId: id }),
  );
  await client.quit();
  return { id, reply: `${code} ${text}` };
}

describe('a list of two users and somebody on the Internet', () => {
  beforeAll(async () => {
    await run('list', 'create', 'staff@example.org', '--owner', 'alice@example.org', '--posting', 'anyone');
    await run('list', 'add', 'staff@example.org', 'alice@example.org,bob@example.org');
  });

  test('is shown, with its members', async () => {
    expect(await run('list', 'show')).toMatchObject([
      { address: 'staff@example.org', posting: 'anyone', owners: ['alice@example.org'], here: true },
    ]);
    expect(await run('list', 'members', 'staff@example.org')).toEqual(['alice@example.org', 'bob@example.org']);
  });

  test('gets a post by a user', async () => {
    const { id, reply } = await submit('bob@example.org', 'staff@example.org');
    expect(reply).toMatch(/^250 /);
    const got = await Promise.all([alice.waitForText(id), bob.waitForText(id)]);
    for (const { bytes } of got) expect(field(bytes, 'List-Id')).toBe('<staff.example.org>');
  });

  test('gets a post from the Internet', async () => {
    const { id, reply } = await bring('staff@example.org');
    expect(reply).toMatch(/^250 /);
    const got = await Promise.all([alice.waitForText(id), bob.waitForText(id)]);
    for (const { bytes } of got) expect(field(bytes, 'List-Id')).toBe('<staff.example.org>');
  });
});
