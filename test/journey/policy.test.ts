import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { runProgram } from '../../deploy/command/program.ts';
import { commands } from '../../deploy/command/table.ts';
import { readyMade } from '../../policy/ready-made.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { mxClient, submissionClient } from './fixtures/smtp-client.ts';
import { until } from './fixtures/until.ts';

let outside: Outside;
let home: TestHome;
let epost: RunningEpost;
let file: string;
let alice: MailProgram;

beforeAll(async () => {
  outside = await startOutside();
  home = await TestHome.make({ flags: outside.flags });
  epost = await home.up();
  file = path.join(home.folder, 'policy.yaml');
  alice = await MailProgram.open(epost, 'alice@example.org');
});

afterAll(async () => {
  alice?.close();
  await home?.remove();
  await outside?.close();
});

/** A message of an author who proves nothing; the reply, and the trace id in it. */
async function stranger(id = newMessageId()): Promise<{ code: number; text: string; trace: string }> {
  const client = await mxClient(epost.port('mx'));
  const bytes = message({ from: 'x@nobody.test', to: 'alice@example.org', subject: 'hello', messageId: id });
  const { code, text } = await client.send({ from: 'x@nobody.test', to: ['alice@example.org'] }, bytes);
  await client.quit();
  return { code, text, trace: /[0-9A-HJKMNP-TV-Z]{16}/.exec(text)?.[0] ?? '' };
}

/** Bob, of the ring, writes to Alice. */
async function fromBob(messageId: string): Promise<void> {
  const client = await submissionClient(epost.port('submission'), 'bob@example.org', epost.password('bob@example.org'));
  const bytes = message({ from: 'bob@example.org', to: 'alice@example.org', subject: 'hello', messageId });
  expect((await client.send({ from: 'bob@example.org', to: ['alice@example.org'] }, bytes)).code).toBe(250);
  await client.quit();
}

const epostDoes = async (...args: string[]): Promise<string> => {
  const { code, out, err } = await home.run(...args);
  expect(code, `epost ${args.join(' ')}: ${err}`).toBe(0);
  return out;
};

test('a postmaster tries a policy on past mail, puts it in place, understands a refusal, and goes back', async () => {
  const id = newMessageId();
  const before = await stranger(id);
  expect(before.code).toBe(250);
  await alice.waitForText(id);

  // What would the strict policy have done?
  const strict = path.join(home.folder, 'strict.yaml');
  await writeFile(strict, await epostDoes('policy', 'init', 'strict', '--show'));
  const report = JSON.parse(await epostDoes('policy', 'replay', strict, '--since', '1d', '--json')) as {
    changes: { from: object; to: object; samples: string[] }[];
  };
  const change = report.changes.find(({ samples }) => samples.includes(before.trace));
  expect(change).toMatchObject({ from: { verdict: 'accept' }, to: { verdict: 'reject', rule: 'not-proven' } });
  expect(await epostDoes('policy', 'replay', strict)).toMatch(/1 would be another[\s\S]*x@nobody\.test/);

  // It is put in place, and acts from then on: on the next step of a session that is open, too.
  const open = await mxClient(epost.port('mx'));
  expect(await epostDoes('policy', 'init', 'strict')).toContain('decides by it from now on');
  const refused = await stranger();
  expect(refused.code).toBe(550);
  const late = message({ from: 'x@nobody.test', to: 'alice@example.org', subject: 'late', messageId: newMessageId() });
  expect((await open.send({ from: 'x@nobody.test', to: ['alice@example.org'] }, late)).code).toBe(550);
  await open.quit();
  expect(refused.text).toContain('neither signs this message');

  // Why?
  const why = await epostDoes('explain', refused.trace);
  expect(why).toContain('reject at data: decided by rule not-proven');
  expect(why).toContain('The answer was: 550 5.7.1');
  expect(why).toMatch(/dmarc-fail did not match because dmarc\.result is "none", not "fail"/);
  expect(why).toContain('author.domain = "nobody.test"');
  const access = await readFile(path.join(home.folder, 'trace', 'access.log'), 'utf8');
  expect(
    access
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { command: string }).command),
  ).toEqual(['policy replay', 'policy replay', 'explain']);

  // And back.
  const { present, revisions } = JSON.parse(await epostDoes('policy', 'history', '--json')) as {
    present: string;
    revisions: { hash: string; why: string }[];
  };
  expect(revisions.map(({ why }) => why)).toEqual(['policy init strict', 'in force at a start']);
  expect(revisions[0]?.hash).toBe(present);
  await epostDoes('policy', 'rollback', revisions[1]?.hash.slice(0, 8) ?? '');
  expect(await readFile(file, 'utf8')).toBe(readyMade[0]?.text);
  expect((await stranger()).code).toBe(250);
});

test('a rule that only counted is made to act, and what would break an expectation is not', async () => {
  await epostDoes('policy', 'promote', 'claims-to-be-ours');
  const text = await readFile(file, 'utf8');
  expect(text.split('\n').filter((line) => line.includes('mode: shadow'))).toHaveLength(1);
  await epostDoes('policy', 'init', 'observe');
  const { code, err } = await home.run('policy', 'promote', 'dmarc-reject');
  expect(code).toBe(2);
  expect(err).toMatch(/expect/);
  expect(await readFile(file, 'utf8')).toBe(readyMade.find(({ name }) => name === 'observe')?.text);
});

test('what a rule holds is counted, then released in bulk', async () => {
  await writeFile(file, 'version: 1\nrules:\n  - {id: look-first, when: true, do: hold}\ndefault: accept\n');
  epost.reload();
  const held = async (): Promise<{ wouldSteer: number }> =>
    JSON.parse(await epostDoes('queue', 'release', '--reason', 'rule look-first', '--json')) as { wouldSteer: number };
  await until('the rule holds', async () => {
    await stranger();
    return (await held()).wouldSteer > 0 ? true : undefined;
  });
  const ids = [newMessageId(), newMessageId()];
  for (const id of ids) expect((await stranger(id)).code).toBe(250);
  const { wouldSteer } = await held();
  expect(wouldSteer).toBeGreaterThanOrEqual(3);
  expect((await alice.messages()).some(({ bytes }) => ids.some((id) => bytes.includes(id)))).toBe(false);
  expect(await epostDoes('queue', 'release', '--reason', 'rule look-first', '--yes')).toBe(`${wouldSteer} released\n`);
  for (const id of ids) await alice.waitForText(id);
  expect((await held()).wouldSteer).toBe(0);
});

test('a user decides for himself what comes to him, and the sender and the postmaster can see it', async () => {
  await epostDoes('policy', 'init', 'standard');
  // First contacts are put aside.
  expect(await epostDoes('policy', 'user', 'set', 'alice@example.org', 'introductions')).toContain('from now on');
  const { trace } = await stranger();
  const why = await until('the letter is decided', async () => {
    const { code, out } = await home.run('explain', trace);
    return code === 0 && out.includes('at notification') ? out : undefined;
  });
  expect(why).toContain('By the policy of alice@example.org:');
  expect(why).toContain('introduce at notification: decided by rule first-contact.');
  // A colleague is refused by name: the rule is in the receipt that comes back to him.
  expect(await epostDoes('policy', 'user', 'block', 'alice@example.org', 'bob@example.org')).toContain('from now on');
  const bob = await MailProgram.open(epost, 'bob@example.org');
  await fromBob(newMessageId());
  await bob.waitForText('refused by rule blocked');
  // A bad file changes nothing, and is told whole.
  const file = path.join(home.folder, 'alice.yaml');
  await writeFile(file, 'version: 1\nrules:\n  - {id: x, when: message.listId != "", do: junk}\ndefault: accept\n');
  expect(await home.run('policy', 'user', 'set', 'alice@example.org', file)).toMatchObject({ code: 2 });
  expect(await epostDoes('policy', 'user', 'show', 'alice@example.org')).toContain('blocked: [bob@example.org]');
  await epostDoes('policy', 'user', 'remove', 'alice@example.org');
  // The authority blocks an identity: its letters are refused by every node, its mail by every gateway, until it is released.
  await epostDoes('identity', 'block', 'bob@example.org');
  await fromBob(newMessageId());
  await bob.waitForText('refused by rule blocked-everywhere');
  expect(await epostDoes('identity', 'list')).toContain('bob@example.org');
  await epostDoes('identity', 'release', 'bob@example.org');
  const free = newMessageId();
  await fromBob(free);
  await alice.waitForText(free);
  bob.close();
});

test('a stolen account is stopped by its own unusual volume, and the postmaster drops what it sent', async () => {
  await epostDoes('policy', 'init', 'standard');
  const client = await submissionClient(
    epost.port('submission'),
    'alice@example.org',
    epost.password('alice@example.org'),
  );
  // A letter to the gateway has 20 recipients; what is usual for an account without a past is 10 in an hour.
  for (let letter = 0; letter < 12; letter += 1) {
    const to = Array.from({ length: 20 }, (_, n) => `victim${letter}-${n}@foreign.test`);
    const bytes = message({ from: 'alice@example.org', to: to[0] ?? '', subject: 'win', messageId: newMessageId() });
    expect((await client.send({ from: 'alice@example.org', to }, bytes)).code).toBe(250);
  }
  await client.quit();
  const held = await until('the last of them are held', async () => {
    const listed = JSON.parse(
      await epostDoes(
        'queue',
        'drop',
        '--sender',
        'alice@example.org',
        '--state',
        'held',
        '--reason',
        'unusual-volume',
        '--json',
      ),
    ) as { wouldSteer: number };
    return listed.wouldSteer >= 2 ? listed.wouldSteer : undefined;
  });
  expect(held).toBe(2);
  expect(await epostDoes('status')).toMatch(/^held: 2 from alice@example\.org \(policy rule unusual-volume\)/m);
  expect(await epostDoes('queue', 'drop', '--sender', 'alice@example.org', '--reason', 'unusual-volume', '--yes')).toBe(
    '2 dropped\n',
  );
  const reached = Array.from({ length: 12 }, (_, letter) => outside.mx.to(`victim${letter}-0@foreign.test`).length);
  expect(reached.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(10);
});

test.each([
  ['a release of everything by mistake', ['queue', 'release'], 2, /neither an ID nor what jobs/],
  ['a release of one and of many', ['queue', 'release', '0000000000000000', '--lane', 'in'], 2, /one of the two/],
  ['a rule that is not there', ['policy', 'promote', 'nobody'], 3, /no rule "nobody"/],
  ['a policy that is not ready-made', ['policy', 'init', 'stirct'], 2, /standard, strict, closed, observe/],
  ['a hash that is none', ['policy', 'rollback', 'xyz'], 2, /letters of a hash/],
  ['a hash of no policy', ['policy', 'rollback', '00000000'], 3, /epost policy history/],
  ['a policy for nobody of this home', ['policy', 'user', 'set', 'x@example.org', 'introductions'], 3, /no mailbox/],
  ['the release of nobody', ['identity', 'release', 'x@example.org'], 3, /neither blocked nor slowed/],
  ['a time that is none', ['policy', 'replay', '--since', 'yesterday'], 2, /such as 7d/],
  ['a message that nobody decided', ['explain', '0000000000000000'], 3, /no decision/],
  ['trust in a whole domain', ['policy', 'user', 'trust', 'bob@example.org', 'far.example'], 2, /a mail address/],
])('%s is refused with what to do', async (_why, args, code, told) => {
  // In this process: a start of the program takes longer than all that is tried here.
  const said: string[] = [];
  const hear = (text: string | Uint8Array): boolean => said.push(String(text)) > 0;
  const heard = vi.spyOn(process.stderr, 'write').mockImplementation(hear);
  try {
    const answer = await runProgram(commands, [...args, '--home', home.folder], { out: () => undefined, err: hear });
    expect([answer, said.join('')]).toEqual([code, expect.stringMatching(told)]);
  } finally {
    heard.mockRestore();
  }
});
