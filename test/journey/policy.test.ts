import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readyMade } from '../../policy/ready-made.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { mxClient } from './fixtures/smtp-client.ts';
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

  // It is put in place, and acts from the reload on.
  await epostDoes('policy', 'init', 'strict');
  epost.reload();
  const refused = await until('the strict policy acts', async () => {
    const answer = await stranger();
    return answer.code === 550 ? answer : undefined;
  });
  expect(refused.text).toContain('neither signs this message');

  // Why?
  const why = await epostDoes('explain', refused.trace);
  expect(why).toContain('reject at data: decided by rule not-proven');
  expect(why).toContain('The answer was: 550 5.7.1');
  expect(why).toMatch(/dmarc-fail did not match because .*dmarc\.result = "none"/);
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
  epost.reload();
  await until('the old policy acts', async () => ((await stranger()).code === 250 ? true : undefined));
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

test.each([
  ['a release of everything by mistake', ['queue', 'release'], 2, /neither an ID nor what jobs/],
  ['a release of one and of many', ['queue', 'release', '0000000000000000', '--lane', 'in'], 2, /one of the two/],
  ['a rule that is not there', ['policy', 'promote', 'nobody'], 3, /no rule "nobody"/],
  ['a policy that is not ready-made', ['policy', 'init', 'stirct'], 2, /standard, strict, closed, observe/],
  ['a hash that is none', ['policy', 'rollback', 'xyz'], 2, /letters of a hash/],
  ['a hash of no policy', ['policy', 'rollback', '00000000'], 3, /epost policy history/],
  ['a time that is none', ['policy', 'replay', '--since', 'yesterday'], 2, /such as 7d/],
  ['a message that nobody decided', ['explain', '0000000000000000'], 3, /no decision/],
])('%s is refused with what to do', async (_why, args, code, told) => {
  const answer = await home.run(...args);
  expect([answer.code, answer.err]).toEqual([code, expect.stringMatching(told)]);
});
