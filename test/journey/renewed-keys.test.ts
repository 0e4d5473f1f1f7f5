import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { message } from './fixtures/message.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { submissionClient } from './fixtures/smtp-client.ts';

// Alice's mailbox is where the authority is, bob's on a machine of his own.
const [alice, bob] = ['alice@example.org', 'bob@example.org'];
let homes: { first: TestHome; second: TestHome };
let first: RunningEpost;
let second: RunningEpost;
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'epost-renewed-'));
  homes = { first: await TestHome.make(), second: await TestHome.make() };
  first = await homes.first.up();
  const { invite } = await done<{ invite: string }>('node', 'invite', '--json', '--user', bob);
  second = await homes.second.join(invite, homes.first);
}, 120_000);

afterAll(async () => {
  await Promise.all(Object.values(homes ?? {}).map((home) => home.remove()));
  await rm(folder, { recursive: true, force: true });
});

async function done<T>(...words: string[]): Promise<T> {
  return doneAt<T>(homes.first, ...words);
}

async function doneAt<T>(home: TestHome, ...words: string[]): Promise<T> {
  const { code, out, err } = await home.run(...words);
  expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' });
  return JSON.parse(out) as T;
}

async function write(at: RunningEpost, from: string, to: string, subject: string): Promise<void> {
  const client = await submissionClient(at.port('submission'), from, at.password(from));
  expect(await client.send({ from, to: [to] }, message({ from, to, subject }))).toMatchObject({ code: 250 });
  await client.quit();
}

async function reads(at: RunningEpost, user: string, ...subjects: string[]): Promise<void> {
  const mail = await MailProgram.open(at, user);
  for (const subject of subjects) await mail.waitForText(subject);
  mail.close();
}

async function certificates(user: string): Promise<string[]> {
  const rows = await done<{ address: string; state: string }[]>('user', 'list', '--json');
  return rows.filter(({ address }) => address === user).map(({ state }) => state);
}

test('new keys for a user whose machine is off: he reads what he had, what waits sealed to the old ones, and what comes', async () => {
  await write(first, alice, bob, 'before');
  await reads(second, bob, 'before');
  await second.stop();
  await write(first, alice, bob, 'sealed to the old keys');
  const file = path.join(folder, 'bob.keys');
  expect(await done('user', 'renew', bob, '--out', file, '--json')).toEqual({ address: bob, here: false, file });
  expect((await stat(file)).mode & 0o077).toBe(0);
  expect(await doneAt(homes.second, 'user', 'take', file, '--json')).toEqual({ address: bob });
  expect(await certificates(bob)).toEqual(['replaced', 'valid']);
  second = await homes.second.up();
  await reads(second, bob, 'before', 'sealed to the old keys');
  await write(second, bob, alice, 'under the new certificate');
  await reads(first, alice, 'under the new certificate');
}, 120_000);

test('once the old certificate is revoked, mail goes both ways, and he logs in: everybody knows the new one', async () => {
  const { revoked } = await done<{ revoked: string[] }>('user', 'revoke', bob, '--replaced', '--json');
  expect(revoked).toHaveLength(1);
  expect(await certificates(bob)).toEqual(['revoked', 'valid']);
  await write(first, alice, bob, 'after the revocation');
  await reads(second, bob, 'before', 'after the revocation');
  await write(second, bob, alice, 'and back');
  await reads(first, alice, 'and back');
}, 120_000);

test('new keys for a user of a machine that runs: served with them at once, with all that the mailbox held', async () => {
  expect(await done('user', 'renew', alice, '--json')).toEqual({ address: alice, here: true });
  await done('user', 'revoke', alice, '--replaced', '--json');
  await write(second, bob, alice, 'to the new keys');
  await reads(first, alice, 'under the new certificate', 'to the new keys');
  await write(first, alice, bob, 'from the new keys');
  await reads(second, bob, 'from the new keys');
}, 120_000);

test('keys are refused that are older than those here, for another user’s machine, or cut', async () => {
  const [older, newer] = [path.join(folder, 'older'), path.join(folder, 'newer')];
  for (const file of [older, newer]) await done('user', 'renew', bob, '--out', file, '--json');
  await doneAt(homes.second, 'user', 'take', newer, '--json');
  const refused: readonly [TestHome, string, string][] = [
    [homes.second, older, 'newer keys'],
    [homes.first, newer, 'no mailbox on this home'],
    [homes.second, 'epost-keys-1:AAAA', 'the keys itself'],
  ];
  for (const [home, file, why] of refused) {
    const { code, err } = await home.run('user', 'take', file);
    expect([code, err]).toEqual([expect.toBeOneOf([1, 2, 3]), expect.stringContaining(why)]);
  }
  await reads(second, bob, 'before', 'from the new keys');
}, 120_000);

test('new keys are for users of the ring: not for a name that nobody has, nor for one that was revoked', async () => {
  await done('user', 'add', 'carol@example.org', '--json');
  await done('user', 'revoke', 'carol@example.org', '--json');
  for (const address of ['carol@example.org', 'nobody@example.org']) {
    const { code, err } = await homes.first.run('user', 'renew', address);
    expect([code, err]).toEqual([3, expect.stringContaining('no valid certificate')]);
  }
  const elsewhere = await homes.first.run('user', 'renew', bob);
  expect([elsewhere.code, elsewhere.err]).toEqual([2, expect.stringContaining('lives on another machine')]);
}, 60_000);
