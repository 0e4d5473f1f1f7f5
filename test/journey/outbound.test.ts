import { spawn } from 'node:child_process';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { simpleParser } from 'mailparser';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing, missingPython, program } from '../needs.ts';
import { dkimpyVerdicts } from './fixtures/dkimpy.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { field, message, newMessageId } from './fixtures/message.ts';
import { type Outside, startOutside } from './fixtures/outside.ts';
import { answers, type RunningEpost } from './fixtures/running.ts';
import { mxClient, submissionClient } from './fixtures/smtp-client.ts';
import { until } from './fixtures/until.ts';

let outside: Outside;
let home: TestHome;
let epost: RunningEpost;
let alice: MailProgram;

beforeAll(async () => {
  outside = await startOutside();
  home = await TestHome.make({
    flags: outside.flags,
    config: (text) => text.replace('first: 60s, max: 4h', 'first: 1s, max: 2s'),
  });
  epost = await home.up();
  alice = await MailProgram.open(epost, 'alice@example.org');
});

afterAll(async () => {
  alice?.close();
  await home?.remove();
  await outside?.close();
});

/** Alice's program submits a message; the id under which it is found again. */
async function submit(
  to: readonly string[],
  subject = 'to the world',
  parameters?: string,
): Promise<{ id: string; bytes: Buffer }> {
  const id = newMessageId();
  const bytes = message({ from: 'Alice <alice@example.org>', to: to.join(', '), subject, messageId: id });
  const client = await submissionClient(
    epost.port('submission'),
    'alice@example.org',
    epost.password('alice@example.org'),
  );
  const envelope = { from: 'alice@example.org', to, ...(parameters === undefined ? {} : { parameters }) };
  const reply = await client.send(envelope, bytes);
  await client.quit();
  expect(reply).toMatchObject({ code: 250 });
  return { id, bytes };
}

const arrived = (recipient: string, id: string) => outside.mx.to(recipient).filter(({ messageId }) => messageId === id);

describe('from alice to the world', () => {
  test('a message arrives over TLS, from alice, with her octets below what was added', async () => {
    const { id, bytes } = await submit(['friend@foreign.test']);
    const [got] = await until('it arrives', () =>
      arrived('friend@foreign.test', id).length > 0 ? arrived('friend@foreign.test', id) : undefined,
    );
    expect(got).toMatchObject({ to: ['friend@foreign.test'], tls: true });
    expect(got?.from).toMatch(/@example\.org$/);
    expect(got?.bytes.subarray(got.bytes.length - bytes.length).equals(bytes)).toBe(true);
    expect(outside.dns.asked).toContain('MX foreign.test');
  });

  test.skipIf(missingPython('dkim', 'nacl'))(
    'it is signed with RSA and with Ed25519, and dkimpy verifies both',
    async () => {
      const { id } = await submit(['friend@foreign.test'], 'signed: äöü');
      const [got] = await until('it arrives', () =>
        arrived('friend@foreign.test', id).length > 0 ? arrived('friend@foreign.test', id) : undefined,
      );
      const verdicts = await dkimpyVerdicts(got?.bytes ?? Buffer.alloc(0), home);
      expect(verdicts.sort((a, b) => a.algorithm.localeCompare(b.algorithm))).toEqual([
        { domain: 'example.org', algorithm: 'ed25519-sha256', valid: true },
        { domain: 'example.org', algorithm: 'rsa-sha256', valid: true },
      ]);
      const tampered = Buffer.from(
        (got?.bytes ?? Buffer.alloc(0)).toString('latin1').replace('It works', 'It w0rks'),
        'latin1',
      );
      expect((await dkimpyVerdicts(tampered, home)).map(({ valid }) => valid)).toEqual([false, false]);
    },
  );

  test('several recipients of a domain get it, once each; bob and the world both do', async () => {
    const { id } = await submit(['one@foreign.test', 'two@foreign.test', 'bob@example.org'], 'all of you');
    for (const recipient of ['one@foreign.test', 'two@foreign.test'])
      await until(`${recipient} has it`, () => arrived(recipient, id).length === 1);
    const bob = await MailProgram.open(epost, 'bob@example.org');
    await bob.waitForText(id);
    bob.close();
    expect(outside.mx.asked).not.toContain('bob@example.org');
  });

  test('a 4xx is tried again until it is taken, once', async () => {
    outside.mx.refuse(
      'busy@foreign.test',
      { code: 451, text: '4.7.1 greylisted' },
      { code: 450, text: '4.2.0 still busy' },
    );
    const { id } = await submit(['busy@foreign.test']);
    await until('it is taken', () => arrived('busy@foreign.test', id).length > 0);
    expect(outside.mx.asked.filter((one) => one === 'busy@foreign.test')).toHaveLength(3);
    expect(arrived('busy@foreign.test', id)).toHaveLength(1);
    const { out } = await home.run('queue', 'list', '--state', 'done', '--recipient', 'busy@foreign.test', '--json');
    const { jobs } = JSON.parse(out) as { jobs: { attempts: { why: string }[] }[] };
    expect(jobs[0]?.attempts.map(({ why }) => why)).toEqual([
      expect.stringMatching(/greylisted/),
      expect.stringMatching(/still busy/),
      expect.any(String),
    ]);
  });

  const failures: [why: string, recipient: string, status: RegExp, told: RegExp][] = [
    ['a recipient that the other server does not know', 'gone@foreign.test', /^5\.1\.1$/, /no such user here/],
    ['a domain that does not exist', 'someone@nowhere.test', /^5\.1\.2$/, /nowhere\.test/],
    ['a domain that takes no mail', 'someone@silent.test', /^5\.(?:1\.10|7\.27)$/, /silent\.test/],
  ];
  test.each(failures)(
    '%s comes back to alice as a notice that a parser understands',
    async (_, recipient, status, told) => {
      outside.dns.add({ 'silent.test': { MX: [{ preference: 0, exchange: '.' }] } });
      outside.mx.refuse('gone@foreign.test', { code: 550, text: '5.1.1 no such user here' });
      const { id } = await submit([recipient], `lost on the way to ${recipient}`);
      const notice = await alice.waitFor(
        'the notice',
        ({ bytes }) => bytes.includes('multipart/report') && bytes.includes(recipient),
      );
      const parsed = await simpleParser(notice.bytes, { keepDeliveryStatus: true });
      expect(parsed.from?.value[0]?.address).toBe('mailer-daemon@example.org');
      expect(parsed.to).toMatchObject({ value: [{ address: 'alice@example.org' }] });
      expect(parsed.headers.get('auto-submitted')).toMatch(/^auto-replied/);
      expect(parsed.headers.get('content-type')).toMatchObject({
        value: 'multipart/report',
        params: { 'report-type': 'delivery-status' },
      });
      expect(parsed.text).toMatch(told);
      const report = parsed.attachments.find(({ contentType }) => contentType === 'message/delivery-status');
      const fields = report?.content.toString() ?? '';
      expect(fields).toMatch(new RegExp(`^Final-Recipient: rfc822; ?${recipient}\r?$`, 'm'));
      expect(fields).toMatch(/^Action: failed\r?$/m);
      expect(/^Status: (.*?)\r?$/m.exec(fields)?.[1]).toMatch(status);
      const original = parsed.attachments.find(({ contentType }) =>
        /^(?:text\/rfc822-headers|message\/rfc822)/.test(contentType),
      );
      expect(original?.content.toString()).toContain(id);
      expect(field(notice.bytes, 'Return-Path') ?? '<>').toBe('<>');
    },
  );

  const noticeAbout = async (id: string): Promise<string> => {
    const { bytes } = await alice.waitFor(
      'the notice',
      (seen) => seen.bytes.includes('multipart/report') && seen.bytes.includes(id),
    );
    return bytes.toString('latin1');
  };

  test('what requires TLS goes to no host of which nothing is proved, and alice is told at once (RFC 8689)', async () => {
    const { id } = await submit(['friend@foreign.test'], 'in confidence', 'REQUIRETLS RET=FULL');
    const notice = await noticeAbout(id);
    expect(notice).toMatch(/^Status: 5\.7\.10\r$/m);
    // RET=FULL counts for nothing here (§5).
    expect(notice).toContain('text/rfc822-headers');
    expect(arrived('friend@foreign.test', id)).toEqual([]);
  });

  test('a message that should come back whole does', async () => {
    outside.mx.refuse('gone@foreign.test', { code: 550, text: '5.1.1 no such user here' });
    const { id, bytes } = await submit(['gone@foreign.test'], 'keep it', 'RET=FULL');
    expect(await noticeAbout(id)).toContain(bytes.toString('latin1').split('\r\n\r\n')[1]);
  });

  test('what the other side sends back later is told to alice, and a forged report is refused', async () => {
    const { id } = await submit(['later-gone@foreign.test'], 'not for long');
    const [got] = await until('it arrives', () =>
      arrived('later-gone@foreign.test', id).length > 0 ? arrived('later-gone@foreign.test', id) : undefined,
    );
    const report = Buffer.from(
      [
        'From: Mail Delivery System <mailer-daemon@foreign.test>',
        'To: <alice@example.org>',
        'Subject: Undelivered Mail Returned to Sender',
        'Content-Type: multipart/report; report-type=delivery-status; boundary=b',
        '',
        '--b',
        'Content-Type: message/delivery-status',
        '',
        'Reporting-MTA: dns; inner.foreign.test',
        '',
        'Final-Recipient: rfc822; later-gone@foreign.test',
        'Action: failed',
        'Status: 5.2.2',
        'Diagnostic-Code: smtp; 552 5.2.2 mailbox full',
        '--b',
        'Content-Type: text/rfc822-headers',
        '',
        `${(got?.bytes.toString('latin1') ?? '').split('\r\n\r\n')[0]}`,
        '',
        '--b--',
        '',
      ].join('\r\n'),
    );
    const sendBack = async (to: string): Promise<string> => {
      const mx = await mxClient(epost.port('mx'));
      const { code, text } = await mx.send({ from: '', to: [to] }, report);
      await mx.quit();
      return `${code} ${text}`;
    };
    expect(await sendBack(got?.from ?? '')).toMatch(/^250 /);
    const notice = await alice.waitForText('Final-Recipient: rfc822; later-gone@foreign.test');
    const { subject, text, from } = await simpleParser(notice.bytes);
    expect(from?.text).toContain('mailer-daemon@example.org');
    expect(subject).toBe('Your message could not be delivered');
    expect(text).toContain('not for long');
    expect(text).toMatch(/The mailbox is full\. Send it again in a few days/);
    expect(notice.bytes.toString()).toContain('Reporting-MTA: dns; inner.foreign.test');
    const forged = (got?.from ?? '').replace(/=([a-z0-9])/, '=1');
    expect(await sendBack(forged)).toMatch(/^550 /);
  });

  test('what is under way is shown by `epost queue list`, and the timeline by `epost trace`', async () => {
    outside.mx.refuse('slow@foreign.test', ...Array.from({ length: 40 }, () => ({ code: 451, text: '4.2.0 not yet' })));
    await submit(['slow@foreign.test'], 'patience');
    const job = await until('the queue shows the refusal', async () => {
      const { out } = await home.run('queue', 'list', '--recipient', 'slow@foreign.test', '--json');
      const { jobs } = JSON.parse(out) as {
        jobs: { id: string; lane: string; about: { trace: string }; attempts: { why: string }[] }[];
      };
      return jobs.find(({ attempts }) => attempts.some(({ why }) => /not yet/.test(why)));
    });
    expect(job.lane).toBe('out:foreign.test');
    const told = await home.run('trace', job.about.trace);
    expect(told.out).toMatch(/alice@example\.org/);
    expect(told.out).toMatch(/not yet/);
    // Not while an attempt is under way.
    await until('it is dropped', async () => (await home.run('queue', 'drop', job.id)).code === 0);
  });
});

describe('the postmaster', () => {
  const laneOf = async (lane: string) => {
    const { out } = await home.run('queue', 'lanes', '--json');
    return (JSON.parse(out) as { lanes: { lane: string; due: number; paused?: object }[] }).lanes.find(
      (one) => one.lane === lane,
    );
  };

  test('pauses a domain, sees it paused, and resumes it', async () => {
    const paused = await home.run('queue', 'pause', '--domain', 'Foreign.test', '--because', 'they asked us to');
    expect(paused).toMatchObject({ code: 0 });
    const { id } = await submit(['friend@foreign.test'], 'wait');
    const lane = await until('it waits', async () => {
      const found = await laneOf('out:foreign.test');
      return found !== undefined && found.due > 0 ? found : undefined;
    });
    expect(lane.paused).toMatchObject({ lane: 'out:foreign.test', reason: 'they asked us to' });
    expect((await home.run('status')).out).toContain('out:foreign.test (they asked us to)');
    await epost.kill9('gateway');
    expect((await home.run('queue', 'lanes')).out).toMatch(/out:foreign\.test .* paused /);
    expect(arrived('friend@foreign.test', id)).toEqual([]);
    expect((await home.run('queue', 'resume', '--domain', 'foreign.test')).code).toBe(0);
    await until('it arrives', () => arrived('friend@foreign.test', id).length > 0);
    expect((await home.run('queue', 'resume', '--domain', 'foreign.test')).code).toBe(3);
    expect((await home.run('queue', 'pause')).code).toBe(2);
  });

  test('gives mail up by what it has in common, counted first, and its sender is told why', async () => {
    outside.mx.refuse(
      'never@foreign.test',
      ...Array.from({ length: 90 }, () => ({ code: 451, text: '4.2.0 not yet' })),
    );
    await submit(['never@foreign.test'], 'one');
    await submit(['never@foreign.test'], 'two');
    const meant = ['--recipient', 'never@foreign.test', '--reason', 'not yet'];
    await until('both wait', async () => {
      const { out } = await home.run('queue', 'fail', ...meant, '--json');
      return (JSON.parse(out) as { wouldSteer: number }).wouldSteer === 2;
    });
    const failed = await home.run('queue', 'fail', ...meant, '--because', 'mistyped', '--yes');
    expect(failed).toMatchObject({ code: 0, out: expect.stringContaining('2 given up') as string });
    await alice.waitFor(
      'the notice',
      ({ bytes }) => bytes.includes('Status: 5.0.0') && bytes.includes('never@foreign.test'),
      'INBOX',
      // It waits for its turn in a lane that so many refusals have slowed down.
      100_000,
    );
    const { out } = await home.run('queue', 'list', '--state', 'done', '--recipient', 'never@foreign.test', '--json');
    const { jobs } = JSON.parse(out) as { jobs: { attempts: { why: string }[] }[] };
    expect(jobs.every(({ attempts }) => attempts.some(({ why }) => why.includes('not yet')))).toBe(true);
  });
});

describe.skipIf(missing('smtp-sink'))("postfix's smtp-sink", () => {
  test('takes what alice sends', async () => {
    // Another address of loopback, since --mx-port is one port for all.
    outside.dns.add({
      'sink.test': { MX: [{ preference: 10, exchange: 'mx.sink.test' }] },
      'mx.sink.test': { A: ['127.0.0.2'] },
    });
    const folder = path.join(path.dirname(home.folder), 'sink');
    await mkdir(folder);
    const parent = path.dirname(home.folder);
    await chmod(parent, 0o711);
    await chmod(folder, 0o777);
    const asRoot = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
    const sink = spawn(
      program('smtp-sink'),
      [...asRoot, '-R', folder, '-D', 'taken', `127.0.0.2:${outside.mx.port}`, '16'],
      { stdio: 'ignore' },
    );
    const ended = new Promise((resolve) => sink.once('exit', resolve));
    try {
      await until('smtp-sink listens', () => answers(outside.mx.port, '127.0.0.2'));
      const { id } = await submit(['friend@sink.test'], 'into the sink');
      const taken = await until('it is written', async () => {
        const text = await readFile(path.join(folder, 'taken'), 'latin1').catch(() => '');
        return text.includes(id) ? text : undefined;
      });
      expect(taken).toMatch(/X-Rcpt-Args: <friend@sink\.test>/);
      expect(taken.match(/^DKIM-Signature:/gm)).toHaveLength(2);
    } finally {
      sink.kill('SIGKILL');
      await ended;
    }
  });
});
