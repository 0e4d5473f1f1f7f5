import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { defaultPorts } from '../../deploy/config/template.ts';
import { missing } from '../needs.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { epostProgram, run, runEpost } from './fixtures/program.ts';
import { answers, type RunningEpost, StartFailed } from './fixtures/running.ts';

let home: TestHome;
let epost: RunningEpost;
let firstPassword: string;

beforeAll(async () => {
  home = await TestHome.make();
  epost = await home.up();
  firstPassword = epost.password('alice@example.org');
});

afterAll(() => home.remove());

/** The start is expected to fail: what it said on standard error and its exit code. */
async function failedStart(of: TestHome, flags: Readonly<Record<string, string | number>> = {}): Promise<StartFailed> {
  const outcome = await of.up(flags).catch((fault: unknown) => fault);
  if (!(outcome instanceof StartFailed)) throw new Error(`epost up should have failed: ${String(outcome)}`);
  return outcome;
}

/** What a person reads of a failed command: the lines that are not JSON log lines. */
function said(standardError: string): string[] {
  return standardError.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
}

describe('the first start', () => {
  test('makes a ring without any file or question and says so in exactly one JSON line', () => {
    const at = (name: keyof typeof defaultPorts): string => `127.0.0.1:${defaultPorts[name] + home.portBase}`;
    expect(epost.line).toMatchObject({
      ready: true,
      domain: 'example.org',
      mx: at('mx'),
      submission: at('submission'),
      submissions: at('submissions'),
      imap: at('imap'),
      imaps: at('imaps'),
      http: at('http'),
      home: home.folder,
      users: [
        { address: 'alice@example.org', password: expect.stringMatching(/^\S{12,}$/) },
        { address: 'bob@example.org', password: expect.stringMatching(/^\S{12,}$/) },
      ],
    });
    expect(epost.output().split('\n')).toHaveLength(2);
  });

  test('gives each user a password of their own, which is in no file and not in the log', async () => {
    const passwords = epost.line.users.map(({ password }) => password ?? '');
    expect(new Set(passwords).size).toBe(passwords.length);
    let read = 0;
    for (const file of await filesBelow(home.folder)) {
      // The running node writes files beside their place and renames them: such a one may be gone by now.
      const bytes = await readFile(file).catch((fault: NodeJS.ErrnoException) => {
        if (fault.code === 'ENOENT') return undefined;
        throw fault;
      });
      if (bytes === undefined) continue;
      read += 1;
      expect({ file, tells: passwords.filter((password) => bytes.includes(password)) }).toEqual({ file, tells: [] });
    }
    expect(read).toBeGreaterThan(20);
    for (const password of passwords) expect(epost.log.includes(password)).toBe(false);
  });

  test('keeps what is secret from other users of the machine', async () => {
    const open = [];
    for (const file of await filesBelow(home.folder)) {
      if (/\.key$|key\.pem$|login\.json$/.test(file) && ((await stat(file)).mode & 0o077) !== 0) open.push(file);
    }
    expect(open).toEqual([]);
  });

  test('runs the node and the gateway as processes of their own', async () => {
    expect(await epost.processes()).toEqual({ node: expect.any(Number), gateway: expect.any(Number) });
  });

  test('answers health and readiness, and shows metrics', async () => {
    const at = `http://127.0.0.1:${epost.port('http')}`;
    const [health, ready, metrics] = await Promise.all(
      ['/healthz', '/readyz', '/metrics'].map((page) => fetch(`${at}${page}`)),
    );
    expect([health?.status, ready?.status, metrics?.status]).toEqual([200, 200, 200]);
    const text = await metrics?.text();
    expect(text).toMatch(/^# TYPE \S+ \S+$/m);
    expect(text).toMatch(/^epost_store\{what="blocks"\} \d+$/m);
  });

  test('tells what it keeps and on whose account, and reads all of it', async () => {
    const mail = await MailProgram.open(epost, 'alice@example.org');
    await mail.imap.append('Drafts', 'Subject: counted\r\n\r\nfor alice\r\n');
    mail.close();
    const stats = await home.run('store', 'stats', '--json');
    expect(stats).toMatchObject({ code: 0, err: '' });
    const told = JSON.parse(stats.out) as { stats: { blocks: number }; accounts: { payer: string; bytes: number }[] };
    expect(told.stats.blocks).toBeGreaterThan(0);
    expect(told.accounts.find(({ payer }) => payer === 'alice@example.org')?.bytes).toBeGreaterThan(0);
    const verified = await home.run('store', 'verify', '--json');
    expect(verified).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(verified.out)).toMatchObject({ damaged: 0, setAside: 0, accountsMended: 0, unreached: 0 });
    expect((await home.run('store', 'verify')).out).toMatch(/^\d+ blocks, heads and entries in \d+ s: 0 damaged/);
  });

  test('a second one on the same home refuses in one sentence', async () => {
    const second = await failedStart(home);
    expect(second.exitCode).toBe(4);
    expect(said(second.err)).toEqual([expect.stringMatching(/^epost: .*already running on this home.*$/)]);
    expect(JSON.parse(second.out)).toMatchObject({ error: { code: 'in-use' } });
  });

  test.each(['mx', 'imaps', 'http', 'ring'] as const)(
    'where the port for %s is in use, one sentence says which',
    async (listen) => {
      const other = await anotherHome();
      const port = defaultPorts[listen] + other.portBase;
      const squatter = createServer().listen(port, '127.0.0.1');
      const outcome = await failedStart(other);
      squatter.close();
      expect(outcome.exitCode).toBe(4);
      expect(said(outcome.err)).toEqual([
        expect.stringMatching(new RegExp(`^epost: .*\\b127\\.0\\.0\\.1:${port} is in use by another program`)),
      ]);
    },
  );
});

describe('a later start', () => {
  test('follows a clean stop within 10 s, says no passwords, and keeps the old ones', async () => {
    const mail = await MailProgram.open(epost, 'alice@example.org');
    await mail.imap.append('INBOX', 'Subject: kept\r\n\r\nover the restart\r\n');
    mail.close();
    const { code, tookMs } = await epost.stop();
    expect({ code, inTime: tookMs < 10_000 }).toEqual({ code: 0, inTime: true });
    expect(await answers(home.portBase + defaultPorts.mx)).toBe(false);

    epost = await home.up();
    expect(epost.line.users).toEqual([{ address: 'alice@example.org' }, { address: 'bob@example.org' }]);
    expect(epost.password('alice@example.org')).toBe(firstPassword);
    const again = await MailProgram.open(epost, 'alice@example.org');
    expect((await again.messages()).map(({ bytes }) => bytes.toString())).toEqual([
      'Subject: kept\r\n\r\nover the restart\r\n',
    ]);
    again.close();
  });

  test('follows kill -9 of everything', async () => {
    await epost.kill9('all');
    epost = await home.up();
    const mail = await MailProgram.open(epost, 'alice@example.org');
    expect(await mail.messages()).toHaveLength(1);
    mail.close();
  });

  test('a child that is killed comes back by itself', async () => {
    const before = await epost.processes();
    await epost.kill9('node');
    await epost.isBack('node', before.node ?? 0);
    await epost.kill9('gateway');
    await epost.isBack('gateway', before.gateway ?? 0);
    const mail = await MailProgram.open(epost, 'alice@example.org');
    expect(await mail.messages()).toHaveLength(1);
    mail.close();
  });

  test('refuses another --domain than the ring has', async () => {
    await epost.stop();
    const other = await failedStart(home, { domain: 'other.example' });
    expect(other.exitCode).toBe(2);
    expect(other.err).toMatch(/--domain: found other\.example, expected example\.org/);
  });

  const damages: [why: string, file: string, bytes: string][] = [
    ['a ring file of rubbish', 'ring/ring.cert', 'rubbish'],
    ['a node key cut short', 'node/node.key', '{"vers'],
    ['a gateway certificate of rubbish', 'gateway/gateway.cert', 'rubbish'],
  ];
  test.each(damages)('%s is named in one sentence, and nothing starts', async (_, file, bytes) => {
    const damaged = path.join(home.folder, file);
    const kept = await readFile(damaged);
    await writeFile(damaged, bytes);
    const outcome = await failedStart(home);
    await writeFile(damaged, kept);
    await chmod(damaged, 0o600);
    expect(outcome.exitCode).not.toBe(0);
    expect(said(outcome.err)).toHaveLength(1);
    expect(said(outcome.err)[0]).toContain(damaged);
  });

  test('a folder with other files in it is left alone', async () => {
    const other = await runEpost(['up', '--home', path.dirname(epostProgram), '--json']);
    expect(other.code).toBe(2);
    expect(said(other.err)).toEqual([expect.stringMatching(/^epost: .* is not an ePOST home; choose another --home$/)]);
  });
});

describe('a pass phrase', () => {
  test('protects the keys: without it, or with a wrong one, nothing starts and one sentence says why', async () => {
    const locked = await anotherHome();
    const right = path.join(path.dirname(locked.folder), 'right');
    const wrong = path.join(path.dirname(locked.folder), 'wrong');
    await writeFile(right, 'correct horse battery staple\n');
    await writeFile(wrong, 'incorrect horse\n');
    const made = await runEpost(['init', '--home', locked.folder, '--passphrase-file', right, '--json']);
    expect(made.code).toBe(0);

    const none = await failedStart(locked);
    expect({ code: none.exitCode, said: new Set(said(none.err)) }).toEqual({
      code: 2,
      said: new Set([expect.stringMatching(/^epost: .*pass phrase/)]),
    });
    const other = await failedStart(locked, { 'passphrase-file': wrong });
    expect({ code: other.exitCode, said: new Set(said(other.err)) }).toEqual({
      code: 2,
      said: new Set([expect.stringMatching(/^epost: .*pass phrase/)]),
    });
    const opened = await locked.up({ 'passphrase-file': right });
    expect(opened.line.ready).toBe(true);
  });
});

describe.skipIf(missing('curl', 'bash'))('what the first start tells a person to type', () => {
  test('sends and reads a first message, exactly as printed', async () => {
    const output = await startForPeople(await anotherHome());
    const commands = output.split('\n').filter((line) => /^ {2}(?:printf|curl|npx)|^ {4}curl/.test(line));
    const joined = commands.join('\n').split(/(?<!\|)\n/);
    expect(joined).toHaveLength(4);
    const [fromOutside = '', read = '', inside = '', trace = ''] = joined;
    const shell = (command: string): ReturnType<typeof run> => run('bash', ['-o', 'pipefail', '-c', command]);

    expect((await shell(fromOutside)).code).toBe(0);
    await expect.poll(async () => (await shell(read)).out, { timeout: 20_000 }).toMatch(/It works\./);
    expect((await shell(inside)).code).toBe(0);
    const second = read.replace('MAILINDEX=1', 'MAILINDEX=2');
    await expect.poll(async () => (await shell(second)).out, { timeout: 20_000 }).toMatch(/Subject: Inside/);
    const traced = await shell(trace);
    expect(traced.out).toMatch(/friend@sender\.test/);
  });
});

/** A home for one test, removed when the test is over, however it ends. */
async function anotherHome(): Promise<TestHome> {
  const other = await TestHome.make();
  onTestFinished(() => other.remove());
  return other;
}

/** What `epost up` without --json prints when it is ready; it is stopped when the test is over. */
async function startForPeople(of: TestHome): Promise<string> {
  const child = spawn(process.execPath, [epostProgram, 'up', '--home', of.folder, '--port-base', `${of.portBase}`]);
  const ended = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  let output = '';
  child.stdout.on('data', (part: Buffer) => (output += part.toString()));
  // Its log would fill the pipe.
  child.stderr.resume();
  await expect.poll(() => output, { timeout: 25_000 }).toMatch(/epost trace/);
  return output;
}

async function filesBelow(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.filter((one) => one.isFile()).map((one) => path.join(one.parentPath, one.name));
}
