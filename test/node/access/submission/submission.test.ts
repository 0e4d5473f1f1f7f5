import net from 'node:net';
import nodemailer from 'nodemailer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { submissionLimits } from '../../../../node/access/submission/limits.ts';
import { type SubmissionListener, startSubmission } from '../../../../node/access/submission/server.ts';
import { MailFault } from '../../../../node/mail/fault.ts';
import { makeUser } from '../../mail/mailbox-fixture.ts';
import { type AccountFixture, localTls, makeAccount, password, quickGate, silent } from '../access-fixture.ts';
import { DialogClient } from '../dialog.ts';

let fixture: AccountFixture;
let listener: SubmissionListener;
let events: { id: string; what: string }[];

async function start(limits: Partial<typeof submissionLimits> = {}): Promise<void> {
  let traces = 0;
  listener = await startSubmission({
    host: '127.0.0.1',
    port: 0,
    tls: await localTls(),
    accounts: fixture.accounts,
    gate: quickGate(fixture.accounts),
    hostname: 'node.example.org',
    limits: { ...submissionLimits, ...limits },
    now: Date.now,
    log: silent,
    trace: (id, { what }) => events.push({ id, what }),
    newTraceId: () => `T${(traces += 1)}`,
  });
}

beforeEach(async () => {
  fixture = await makeAccount();
  events = [];
  await start();
});
afterEach(async () => {
  await listener.stop(500);
  await fixture.stop();
});

interface Talk {
  readonly client: DialogClient;
  /** Sends a line and gives the last line of the reply. */
  readonly say: (text: string) => Promise<string>;
}

/** A client behind TLS, before AUTH. */
async function talk(): Promise<Talk> {
  const client = await DialogClient.connect(listener.port, false);
  const say = async (text: string): Promise<string> => {
    client.send(`${text}\r\n`);
    for (;;) {
      const line = await client.line();
      if (!/^\d{3}-/.test(line)) return line;
    }
  };
  await client.line();
  await say('EHLO me.example.net');
  await say('STARTTLS');
  await client.startTls();
  await say('EHLO me.example.net');
  return { client, say };
}

/** The same after AUTH. */
async function loggedIn(): Promise<Talk> {
  const talking = await talk();
  const response = Buffer.from(`\0alice@example.org\0${password}`).toString('base64');
  expect(await talking.say(`AUTH PLAIN ${response}`)).toMatch(/^235 /);
  return talking;
}

describe('the submission listener', () => {
  it('who has no room left is told for good and what to do, where trouble of the ring is for now', async () => {
    const { say } = await loggedIn();
    const send = async (fault: MailFault): Promise<string> => {
      fixture.outcome = () => {
        throw fault;
      };
      await say('MAIL FROM:<alice@example.org>');
      await say('RCPT TO:<bob@example.net>');
      await say('DATA');
      return say('From: alice@example.org\r\nSubject: x\r\n\r\nx\r\n.');
    };
    expect(await send(new MailFault('quota', 'full'))).toMatch(/^552 5\.2\.2 your quota is used up; delete messages/);
    expect(await send(new MailFault('unavailable', 'no quorum'))).toMatch(/^451 4\.3\.0 /);
  });

  it('a program sends a message; the answer names the trace', async () => {
    const transport = nodemailer.createTransport({
      host: '127.0.0.1',
      port: listener.port,
      requireTLS: true,
      tls: { rejectUnauthorized: false },
      auth: { user: 'alice@example.org', pass: password },
    });
    const info = await transport.sendMail({
      from: '"Alice" <alice@example.org>',
      to: ['bob@example.net', 'carol@example.net'],
      bcc: 'dave@example.net',
      subject: 'hello',
      text: 'hi',
      dsn: { id: 'env1', return: 'headers', notify: ['failure', 'delay'] },
    });
    expect(info.response).toBe('250 2.0.0 Ok: queued as T1');
    const [submitted] = fixture.submitted;
    expect(submitted?.envelope).toMatchObject({
      from: 'alice@example.org',
      to: ['bob@example.net', 'carol@example.net', 'dave@example.net'],
      ret: 'HDRS',
      envid: 'env1',
    });
    expect(submitted?.envelope.dsn?.get('bob@example.net')?.notify).toEqual(['FAILURE', 'DELAY']);
    const text = Buffer.from(submitted?.bytes ?? []).toString();
    expect(text).toMatch(/^Received: by node\.example\.org /);
    expect(text).not.toMatch(/127\.0\.0\.1|dave/);
    expect(events.map(({ id, what }) => `${id} ${what}`)).toEqual(['T1 submission', 'T1 submission-reply']);
  });

  it('announces REQUIRETLS (RFC 8689), and passes on who asks for it', async () => {
    const { client, say } = await loggedIn();
    client.send('EHLO x\r\n');
    const lines: string[] = [];
    for (let line = await client.line(); ; line = await client.line()) {
      lines.push(line);
      if (line[3] === ' ') break;
    }
    expect(lines.map((line) => line.slice(4))).toContain('REQUIRETLS');
    expect(await say('MAIL FROM:<alice@example.org> REQUIRETLS')).toMatch(/^250 /);
    await say('RCPT TO:<bob@example.net>');
    await say('DATA');
    expect(await say('From: alice@example.org\r\nSubject: x\r\n\r\nx\r\n.')).toMatch(/^250 /);
    expect(fixture.submitted.at(-1)?.envelope).toMatchObject({ requireTls: true });
  });

  it('takes an address literal as a recipient for the gateway, and nothing that only looks like one', async () => {
    const { say } = await loggedIn();
    await say('MAIL FROM:<alice@example.org>');
    const answers = [];
    for (const to of ['bob@[192.0.2.1]', 'bob@[IPv6:2001:db8::1]', 'bob@[nowhere]', 'bob@192.0.2.1'])
      answers.push((await say(`RCPT TO:<${to}>`)).slice(0, 3));
    expect(answers.slice(0, 2)).toEqual(['250', '250']);
    for (const refused of answers.slice(2)) expect(refused).toMatch(/^5/);
  });

  it('takes no password and no mail before TLS, and none from who has not logged in', async () => {
    const client = await DialogClient.connect(listener.port, false);
    const answers: string[] = [await client.line()];
    client.send('EHLO x\r\n');
    for (let line = await client.line(); ; line = await client.line()) {
      answers.push(line);
      if (line.startsWith('250 ')) break;
    }
    expect(answers.filter((line) => /AUTH/.test(line))).toEqual([]);
    expect(
      answers.filter((line) => /STARTTLS|ENHANCEDSTATUSCODES|DSN|8BITMIME|SMTPUTF8|SIZE 36634624/.test(line)),
    ).toHaveLength(6);
    client.send(`AUTH PLAIN ${Buffer.from(`\0alice@example.org\0${password}`).toString('base64')}\r\n`);
    expect(await client.line()).toMatch(/^5\d\d /);
    client.send('MAIL FROM:<alice@example.org>\r\n');
    expect(await client.line()).toMatch(/^5\d\d /);
    client.close();
    expect(fixture.submitted).toEqual([]);
  });

  it.each([
    ['another user', 'MAIL FROM:<bob@example.org>', /^550 5\.7\.1 you may not send as bob@example\.org/],
    ['nobody', 'MAIL FROM:<>', /^550 5\.7\.1 /],
    ['a parameter that is not known', 'MAIL FROM:<alice@example.org> FOO=BAR', /^555 5\.5\.4 /],
    ['a size beyond the limit', 'MAIL FROM:<alice@example.org> SIZE=36700161', /^552 5\.3\.4 /],
  ])('MAIL from %s is refused', async (_, command, expected) => {
    const { client, say } = await loggedIn();
    expect(await say(command)).toMatch(expected);
    client.close();
  });

  it('who may own the sender or not is asked to come again; what he owns besides is taken', async () => {
    fixture.ownership = async (address) =>
      address === 'office@example.org' ? 'own' : address === 'silent@example.org' ? 'unknown' : 'foreign';
    const { client, say } = await loggedIn();
    expect(await say('MAIL FROM:<silent@example.org>')).toMatch(/^451 4\.4\.3 /);
    expect(await say('MAIL FROM:<office@example.org>')).toMatch(/^250 /);
    expect(await say('RCPT TO:<bob@example.net>')).toMatch(/^250 /);
    await say('DATA');
    expect(await say('From: silent@example.org\r\n\r\nhi\r\n.')).toMatch(/^451 4\.4\.3 /);
    client.close();
    expect(await data('From: office@example.org\r\n\r\nhi', ['bob@example.net'], 'office@example.org')).toMatch(
      /^250 /,
    );
  });

  it('a gateway or mailer-daemon has no mailbox to write to', async () => {
    const { client, say } = await loggedIn();
    await say('MAIL FROM:<alice@example.org>');
    for (const kind of ['gateway', 'service'] as const) {
      fixture.lookup = async () => ({ kind: 'found', certificate: makeUser('robot', kind).certificate });
      expect(await say('RCPT TO:<robot@example.org>')).toBe('550 5.1.1 there is no user robot@example.org');
    }
    client.close();
  });

  it('recipients in the ring are looked up at RCPT, others are not', async () => {
    const { client, say } = await loggedIn();
    await say('MAIL FROM:<alice@example.org>');
    expect(await say('RCPT TO:<alice@example.org>')).toMatch(/^250 /);
    expect(await say('RCPT TO:<alice+tag@EXAMPLE.org>')).toMatch(/^250 /);
    expect(await say('RCPT TO:<nobody@example.org>')).toBe('550 5.1.1 there is no user nobody@example.org');
    expect(await say('RCPT TO:<anybody@example.net>')).toMatch(/^250 /);
    fixture.lookup = async () => ({ kind: 'unknown', reason: 'nobody answers' });
    expect(await say('RCPT TO:<bob@example.org>')).toMatch(/^451 4\.4\.3 /);
    client.close();
  });

  const data = async (lines: string, recipients = ['bob@example.net'], from = 'alice@example.org'): Promise<string> => {
    const { client, say } = await loggedIn();
    await say(`MAIL FROM:<${from}>`);
    for (const to of recipients) await say(`RCPT TO:<${to}>`);
    await say('DATA');
    const answer = await say(`${lines}\r\n.`);
    client.close();
    return answer;
  };

  it('somebody else in From is refused after DATA', async () => {
    expect(await data('From: bob@example.org\r\n\r\nhi')).toBe(
      '550 5.7.1 you may not write as bob@example.org, which the From field names',
    );
    expect(fixture.submitted).toEqual([]);
  });

  it('a bare LF is refused after DATA', async () => {
    expect(await data('From: alice@example.org\r\n\r\nhi\n.\nMAIL FROM:<x@example.org>')).toMatch(/^554 5\.6\.0 /);
    expect(fixture.submitted).toEqual([]);
  });

  it('a dot at the beginning of a line is what it was', async () => {
    expect(await data('From: alice@example.org\r\n\r\n..\r\n..x')).toMatch(/^250 2\.0\.0 Ok: queued as T1$/);
    expect(Buffer.from(fixture.submitted[0]?.bytes ?? []).toString()).toMatch(/\r\n\r\n\.\r\n\.x\r\n$/);
  });

  it('a recipient who cannot be reached yet makes it 451 for all, and the repetition has the same octets', async () => {
    fixture.outcome = (to) =>
      to === 'carol@example.net'
        ? { kind: 'try-later', reason: 'x' }
        : { kind: 'sent', id: new Uint8Array(), via: 'ring' };
    const message = 'From: alice@example.org\r\nDate: ' + new Date().toUTCString() + '\r\n\r\nhi';
    const to = ['bob@example.net', 'carol@example.net'];
    expect(await data(message, to)).toMatch(/^451 4\.3\.0 not yet possible for carol@example\.net/);
    expect(await data(message, to)).toMatch(/^451 /);
    const [first, second] = fixture.submitted;
    expect(Buffer.compare(first?.bytes ?? Buffer.from('1'), second?.bytes ?? Buffer.from('2'))).toBe(0);
  });

  it('a ring that cannot store is 451, not lost', async () => {
    fixture.outcome = () => {
      throw new Error('no quorum');
    };
    expect(await data('From: alice@example.org\r\n\r\nhi')).toMatch(/^451 4\.3\.0 /);
  });

  it('a message beyond the limit is refused though nobody announced its size', async () => {
    await listener.stop(0);
    await start({ maxMessageBytes: 10_000 });
    expect(await data(`From: alice@example.org\r\n\r\n${'x'.repeat(70)}\r\n`.padEnd(20_000, 'y\r\n'))).toMatch(
      /^552 5\.3\.4 /,
    );
  });

  it('three wrong passwords end the connection', async () => {
    const other = await talk();
    const wrong = `AUTH PLAIN ${Buffer.from('\0alice@example.org\0wrong').toString('base64')}`;
    expect(await other.say(wrong)).toBe('535 5.7.8 user name or password is wrong');
    expect(await other.say(wrong)).toBe('535 5.7.8 user name or password is wrong');
    expect(await other.say(wrong)).toMatch(/^421 4\.7\.0 /);
    expect(await other.client.line()).toBe('<closed>');
  });

  it('stops while clients are connected', async () => {
    const { client } = await loggedIn();
    await listener.stop(200);
    expect(await client.line()).toMatch(/^421 4\.3\.2 /);
    await expect(
      new Promise((resolve, reject) => {
        const socket = net.connect({ port: listener.port, host: '127.0.0.1' });
        socket.once('connect', () => {
          socket.destroy();
          resolve('connected');
        });
        socket.once('error', reject);
      }),
    ).rejects.toThrow(/ECONNREFUSED/);
  });
});
