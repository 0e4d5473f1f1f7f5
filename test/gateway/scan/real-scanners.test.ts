import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scanners } from '../../../gateway/scan/scanners.ts';
import { ordinaryEvidence } from '../../../policy/complete-evidence.ts';
import { decide } from '../../../policy/decide.ts';
import { Limits } from '../../../policy/limits.ts';
import { loadPolicy } from '../../../policy/load.ts';
import { standardPolicy } from '../../../policy/standard.ts';
import { missing, program } from '../../needs.ts';

const skipped = missing('clamd', 'rspamd');

// The test virus of eicar.org, which harms nobody, in hexadecimal: scanners of this machine need not find it in this file.
const eicarHex =
  '58354f2150254041505b345c505a58353428505e2937434329377d2445494341522d5354414e444152442d414e544956495255532d544553542d46494c452124482b482a';
const eicar = Buffer.from(eicarHex, 'hex');
// https://spamassassin.apache.org/gtube/, taken apart for the same reason.
const gtube = ['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL', '*C.34X'].join('');

const folder = mkdtempSync(path.join(os.tmpdir(), 'epost-scan-'));
const at = (name: string): string => path.join(folder, name);
const children: ChildProcess[] = [];

async function daemon(name: string, args: readonly string[], socket: string): Promise<ChildProcess> {
  const child = spawn(program(name), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let said = '';
  child.stdout?.on('data', (part: Buffer) => (said += part.toString()));
  child.stderr?.on('data', (part: Buffer) => (said += part.toString()));
  const answers = async (): Promise<boolean> =>
    new Promise((resolve) => {
      const probe = connect(socket, () => resolve(true));
      probe.once('error', () => resolve(false));
      probe.once('connect', () => probe.destroy());
    });
  for (const giveUp = Date.now() + 60_000; !(await answers()); await new Promise((resolve) => setTimeout(resolve, 50)))
    if (Date.now() > giveUp || child.exitCode !== null)
      throw new Error(`${name} does not answer: ${said.slice(-2_000)}`);
  return child;
}

let clamd: ChildProcess;
beforeAll(async () => {
  if (skipped !== undefined) return;
  mkdirSync(at('db'));
  // Databases of the day are not for a test; this one knows a single thing.
  writeFileSync(at('db/test.ndb'), `Eicar-Test:0:*:${eicarHex}\n`);
  writeFileSync(
    at('clamd.conf'),
    `LocalSocket ${at('clamd.ctl')}\nDatabaseDirectory ${at('db')}\nPidFile ${at('clamd.pid')}\nForeground yes\nOfficialDatabaseOnly no\nMaxThreads 4\nStreamMaxLength 1M\n`,
  );
  // Without its own list of domains rspamd compiles ten thousand of them first.
  writeFileSync(at('tld.dat'), 'com\norg\nexample\n');
  writeFileSync(
    at('rspamd.conf'),
    `options { pidfile = "${at('rspamd.pid')}"; tempdir = "${folder}"; cache_file = "${at('cache')}"; hs_cache_dir = "${folder}"; url_tld = "${at('tld.dat')}"; filters = ""; dns { nameserver = ["127.0.0.1:1"]; timeout = 100ms; retransmits = 1; } control_socket = "${at('ctl.sock')} mode=0600"; }
logging { type = "console"; level = "error"; }
worker "normal" { bind_socket = "${at('rspamd.sock')} mode=0600"; count = 1; }
actions { reject = 15; add_header = 6; greylist = 4; }
`,
  );
  [clamd] = await Promise.all([
    daemon('clamd', ['-c', at('clamd.conf')], at('clamd.ctl')),
    daemon('rspamd', ['-f', '-i', '-c', at('rspamd.conf')], at('rspamd.sock')),
  ]);
}, 90_000);

afterAll(async () => {
  await Promise.all(
    children.map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      // rspamd ends its workers with it.
      child.kill('SIGTERM');
      await ended;
    }),
  );
  rmSync(folder, { recursive: true, force: true });
}, 30_000);

const loaded = loadPolicy(standardPolicy);
const settings = { clamav: at('clamd.ctl'), rspamd: at('rspamd.sock'), timeoutMs: 20_000 };
const facts = {
  ip: '192.0.2.1',
  helo: 'mail.far.example',
  from: 'a@far.example',
  recipients: ['b@example.org'],
  hostname: 'mx.example.org',
};
const letter = (...body: string[]): Buffer =>
  Buffer.from(
    ['From: a@far.example', 'To: b@example.org', 'Subject: hello', 'MIME-Version: 1.0', ...body, ''].join('\r\n'),
  );
const attached = letter(
  'Content-Type: multipart/mixed; boundary=x',
  '',
  '--x',
  'Content-Type: application/octet-stream; name=report.com',
  'Content-Transfer-Encoding: base64',
  '',
  eicar.toString('base64'),
  '--x--',
);

/** What both say, and what the standard policy makes of it. */
async function judged(message: Uint8Array) {
  if (loaded.kind !== 'policy') throw new Error('the standard policy is not good');
  const found = await scanners(settings).of(message, facts);
  const { verdict, rule } = decide(loaded.policy, ordinaryEvidence('data', found), new Limits(), 0);
  return { clamav: found.clamav.result, name: found.clamav.name, rspamd: found.rspamd.result, found, verdict, rule };
}

describe.skipIf(skipped)(`rspamd and ClamAV of Debian${skipped === undefined ? '' : ` (${skipped})`}`, () => {
  it('let an ordinary message pass', async () => {
    expect(await judged(letter('', 'hello'))).toMatchObject({
      clamav: 'clean',
      rspamd: 'no-action',
      verdict: 'accept',
    });
  });

  it('find what is attached in base64, and it is refused', async () => {
    expect(await judged(attached)).toMatchObject({
      clamav: 'infected',
      name: 'Eicar-Test.UNOFFICIAL',
      verdict: 'reject',
      rule: 'virus',
    });
  });

  it('advise against a message, with what they saw, and it is junk', async () => {
    const { found, ...rest } = await judged(letter('', gtube));
    expect(rest).toMatchObject({ rspamd: 'reject', verdict: 'junk', rule: 'rspamd-advice' });
    expect(found.rspamd).toMatchObject({ score: 150, symbols: ['GTUBE'] });
  });

  it('take many at once', async () => {
    const all = await Promise.all(
      Array.from({ length: 40 }, (_, n) => judged(n % 2 === 0 ? attached : letter('', `hello ${n}`))),
    );
    expect(all.map(({ clamav }) => clamav)).toEqual(all.map((_, n) => (n % 2 === 0 ? 'infected' : 'clean')));
  });

  it('say nothing of a message that is too large for them, and it waits', async () => {
    const found = await judged(Buffer.concat([letter('', ''), Buffer.alloc(2_000_000, 'x')]));
    expect(found).toMatchObject({ clamav: 'unknown', verdict: 'defer', rule: 'could-not-find-out' });
  });

  it('are waited for when ClamAV died, which is not that nothing was found', async () => {
    const ended = new Promise((resolve) => clamd.once('exit', resolve));
    clamd.kill('SIGKILL');
    await ended;
    expect(await judged(attached)).toMatchObject({ clamav: 'unknown', verdict: 'defer', rule: 'could-not-find-out' });
  });
});
