// The part of the corpus of attacks on sender authentication that concerns own users: what leaves the gateway, by the real program.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testdata } from '../testdata.ts';
import { TestHome } from './fixtures/home.ts';
import { message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { submissionClient } from './fixtures/smtp-client.ts';
import { until } from './fixtures/until.ts';
import { foreignDomain } from './fixtures/zone.ts';

interface Case {
  readonly id: string;
  readonly group: string;
  readonly mail_from_line: string;
  readonly rcpt_to_lines: readonly string[];
  readonly message_b64: string;
}

const folder = testdata('auth-attacks');
const cases =
  folder === undefined
    ? []
    : (JSON.parse(readFileSync(path.join(folder, 'attacks.json'), 'utf8')) as { cases: Case[] }).cases;
const submissions = cases.filter(({ group }) => group === 'submission');

let outside: Outside;
let home: TestHome;
let epost: RunningEpost;

beforeAll(async () => {
  if (folder === undefined) return;
  outside = await startOutside();
  outside.dns.add(foreignDomain('elsewhere.example'));
  home = await TestHome.make({ flags: { ...outside.flags, domain: 'victim.example', users: 'user,admin' } });
  epost = await home.up();
});
afterAll(async () => {
  await home?.remove();
  await outside?.close();
});

const user = 'user@victim.example';
const friend = 'friend@elsewhere.example';

async function submit(bytes: Buffer, from = user, to: readonly string[] = [friend]) {
  const client = await submissionClient(epost.port('submission'), user, epost.password(user));
  const reply = await client.send({ from, to }, bytes);
  await client.quit();
  return reply;
}

describe.skipIf(folder === undefined)('own users (skipped where ../shared/testdata is absent)', () => {
  test('the corpus has its three cases', () => expect(submissions).toHaveLength(3));

  test.each(submissions.map((attack) => [attack.id, attack] as const))('%s', async (_id, attack) => {
    const inBrackets = (line: string): string => line.replace(/^<(.*)>$/, '$1');
    const reply = await submit(
      Buffer.from(attack.message_b64, 'base64'),
      inBrackets(attack.mail_from_line),
      attack.rcpt_to_lines.map(inBrackets),
    );
    expect(reply.text).toMatch(/^550 5\.7\.1 /);
  });

  test('none of them left, while an honest message did', async () => {
    const id = newMessageId();
    expect((await submit(message({ from: user, to: friend, subject: 'honest', messageId: id }))).code).toBe(250);
    await until('it arrives', () => outside.mx.to(friend).some(({ messageId }) => messageId === id) || undefined);
    expect(outside.mx.to(friend)).toHaveLength(1);
  });
});
