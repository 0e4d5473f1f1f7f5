import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { until } from './fixtures/until.ts';

let home: TestHome;
let epost: RunningEpost;
let alice: MailProgram;

beforeAll(async () => {
  home = await TestHome.make();
  epost = await home.up();
  alice = await MailProgram.open(epost, 'alice@example.org');
});
afterAll(async () => {
  alice?.close();
  await home?.remove();
});

interface Answer {
  readonly users: readonly {
    readonly user: string;
    readonly kept?: number;
    readonly backups?: readonly number[];
    readonly aside?: string;
    readonly folders?: readonly { readonly name: string; readonly broughtBack: number; readonly setAside: number }[];
  }[];
}

async function recover(...args: string[]): Promise<Answer['users'][number]> {
  const { code, out, err } = await home.run('recover', '--user', 'alice@example.org', '--json', ...args);
  if (code !== 0) throw new Error(`epost recover ended with ${code}: ${err}`);
  const [user] = (JSON.parse(out) as Answer).users;
  if (user === undefined) throw new Error(`no answer for alice: ${out}`);
  return user;
}

async function subjects(folder = 'INBOX'): Promise<string[]> {
  const found = await alice.messages(folder);
  return found.map(({ bytes }) => /^Subject: (.*)\r$/m.exec(bytes.toString())?.[1] ?? '').sort();
}

const letter = (subject: string): string => `From: a@example.org\r\nSubject: ${subject}\r\n\r\n${subject}\r\n`;

test('a user who lost his mail gets it back from a time before, in the program that is open, and what came since is kept', async () => {
  for (const subject of ['one', 'two', 'three']) await alice.imap.append('INBOX', letter(subject));
  const { kept = 0 } = await recover('--keep');
  const lock = await alice.imap.getMailboxLock('INBOX');
  await alice.imap.messageDelete('1:2', { uid: true });
  lock.release();
  await alice.imap.append('INBOX', letter('later'));
  expect(await subjects()).toEqual(['later', 'three']);

  const time = new Date(kept).toISOString();
  const would = await recover('--to', time, '--dry-run');
  expect(would.folders?.find(({ name }) => name === 'INBOX')).toMatchObject({ broughtBack: 2, setAside: 1 });
  expect(await subjects()).toEqual(['later', 'three']);

  const { out } = await home.run('recover', '--to', time, '--user', 'alice@example.org');
  expect(out).toMatch(/alice@example\.org: went back to .*\n[^]*INBOX +2 +1 +0/);
  await until('the mail is back', async () => (await subjects()).length === 3);
  expect(await subjects()).toEqual(['one', 'three', 'two']);
  expect(await subjects(`${would.aside}/INBOX`)).toEqual(['later']);
});

test('a time that is none, or before anything was kept, is said to be so, with what to do', async () => {
  const wrong = await home.run('recover', '--to', 'yesterday');
  expect(wrong.code).toBe(2);
  expect(wrong.err).toContain('2026-11-20T06:00');
  const early = await home.run('recover', '--to', '2001-01-01', '--user', 'alice@example.org');
  expect(early.code).toBe(1);
  expect(early.out).toContain('no heads of 2001');
  const nobody = await home.run('recover', '--user', 'nobody@example.org');
  expect(nobody.code).toBe(3);
  expect(nobody.out).toContain('has no mailbox on this machine');
});
