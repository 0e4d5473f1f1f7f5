import tls from 'node:tls';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Accounts } from '../../../node/access/account.ts';
import { imapLimits } from '../../../node/access/imap/limits.ts';
import { type Imap, startImap } from '../../../node/access/imap/server.ts';
import { type Channel, checkClientFinal, readClientFirst, scramKeys, serverFirst } from '../../../node/access/scram.ts';
import { submissionLimits } from '../../../node/access/submission/limits.ts';
import { type SubmissionListener, startSubmission } from '../../../node/access/submission/server.ts';
import { type AccountFixture, localTls, makeAccount, password, quickGate, silent } from './access-fixture.ts';
import { ScramClient } from './scram-client.ts';

const open: Channel = { plus: false, exporter: undefined };

describe('SCRAM-SHA-256', () => {
  it('the example of RFC 7677 §3 comes out as printed', async () => {
    const keys = await scramKeys('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'), 4096);
    const first = readClientFirst('n,,n=user,r=rOprNGfwEbeRWgbNEkqO', open);
    if (first.kind === 'wrong') throw new Error(first.why);
    const sent = serverFirst(first, '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0', keys);
    expect(sent).toBe('r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096');
    const final =
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=';
    expect(checkClientFinal(final, { first, sent, keys, channel: open })).toEqual({
      kind: 'proved',
      serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
    });
    for (const other of [final.replace('dHzb', 'dHzc'), final.replace('biws', 'eSws'), final.replace('r=rO', 'r=rX')])
      expect(checkClientFinal(other, { first, sent, keys, channel: open }).kind).toBe('wrong');
  });

  const exporter = Buffer.alloc(32, 7);
  it.each([
    ['a name with a comma', 'n,,n=a=2Cb,r=x', open, 'first'],
    ['a name that is not encoded', 'n,,n=a=b,r=x', open, 'wrong'],
    ['somebody else as whom to act', 'n,a=bob,n=alice,r=x', open, 'wrong'],
    ['oneself as whom to act', 'n,a=alice,n=alice,r=x', open, 'first'],
    ['binding without -PLUS', 'p=tls-exporter,,n=a,r=x', open, 'wrong'],
    ['-PLUS without binding', 'n,,n=a,r=x', { plus: true, exporter }, 'wrong'],
    ['-PLUS with binding', 'p=tls-exporter,,n=a,r=x', { plus: true, exporter }, 'first'],
    ['-PLUS with a binding of another kind', 'p=tls-unique,,n=a,r=x', { plus: true, exporter }, 'wrong'],
    ['a client that believes we cannot bind, and we announced it', 'y,,n=a,r=x', { plus: false, exporter }, 'wrong'],
    ['a client that believes we cannot bind, rightly', 'y,,n=a,r=x', open, 'first'],
    ['an extension that must be understood', 'n,,m=x,n=a,r=x', open, 'wrong'],
  ])('%s: %s', (_, message, channel, kind) => expect(readClientFirst(message, channel).kind).toBe(kind));

  it('whatever a client sends, it is an answer and no fault', async () => {
    const keys = await scramKeys('x', Buffer.alloc(16), 4096);
    fc.assert(
      fc.property(fc.string(), fc.string(), (one, two) => {
        const first = readClientFirst(`n,,${one}`, open);
        if (first.kind === 'wrong') return;
        const sent = serverFirst(first, 'y', keys);
        expect(checkClientFinal(two, { first, sent, keys, channel: open }).kind).toBe('wrong');
      }),
    );
  });
});

let fixture: AccountFixture | undefined;
let imap: Imap | undefined;
let submission: SubmissionListener | undefined;
const sockets: tls.TLSSocket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await imap?.stop(100);
  await submission?.stop(100);
  await fixture?.stop();
  imap = submission = undefined;
});

async function withScram(): Promise<Accounts> {
  fixture = await makeAccount();
  const { account, accounts } = fixture;
  const keys = await scramKeys(password, Buffer.alloc(16, 1), 4096);
  const nobody = await scramKeys('nobody knows', Buffer.alloc(16, 2), 4096);
  return {
    ...accounts,
    scram: {
      keys: async (username) => (username === account.address ? keys : nobody),
      admit: async (username) => (username === account.address ? { kind: 'account', account } : { kind: 'refused' }),
    },
  };
}

/** A conversation line by line. */
async function connect(
  port: number,
): Promise<{ socket: tls.TLSSocket; line: () => Promise<string>; send: (text: string) => void }> {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  sockets.push(socket);
  const lines: string[] = [];
  let wake: () => void = () => undefined;
  let rest = '';
  socket.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString('latin1')).split('\r\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
    wake();
  });
  socket.on('close', () => {
    lines.push('<closed>');
    wake();
  });
  await new Promise<void>((resolve) => socket.once('secureConnect', () => resolve()));
  const line = async (): Promise<string> => {
    while (lines.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return lines.shift() ?? '';
  };
  return { socket, line, send: (text) => void socket.write(`${text}\r\n`) };
}

const encoded = (text: string): string => Buffer.from(text).toString('base64');
const decoded = (line: string): string => Buffer.from(line.replace(/^(\+|334) /, ''), 'base64').toString();

function clientFor(socket: tls.TLSSocket, plus: boolean, secret: string): ScramClient {
  const binding = plus ? socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)) : undefined;
  const bound = binding === undefined ? {} : { gs2: 'p=tls-exporter,,', binding };
  return new ScramClient({ username: 'alice@example.org', password: secret, nonce: 'abc', ...bound });
}

describe('a log-in by SCRAM', () => {
  async function startIt(): Promise<number> {
    const accounts = await withScram();
    imap = await startImap({
      listen: [{ host: '127.0.0.1', port: 0, tls: 'implicit' }],
      tls: await localTls(),
      accounts,
      gate: quickGate(accounts),
      limits: imapLimits,
      now: Date.now,
      log: silent,
    });
    return imap.ports[0] ?? 0;
  }

  it.each([false, true])('over IMAP, bound to the TLS channel: %s', async (plus) => {
    const { socket, line, send } = await connect(await startIt());
    expect(await line()).toContain('AUTH=PLAIN AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS');
    const client = clientFor(socket, plus, password);
    send(`a AUTHENTICATE SCRAM-SHA-256${plus ? '-PLUS' : ''} ${encoded(client.first())}`);
    send(encoded(client.final(decoded(await line()))));
    expect(decoded(await line())).toBe(client.serverFinal);
    send('');
    expect(await line()).toMatch(/^a OK \[CAPABILITY /);
    send('b STATUS INBOX (MESSAGES)');
    expect(await line()).toBe('* STATUS INBOX (MESSAGES 0)');
  });

  it('a wrong password, a name that nobody has, and a proof for another channel are refused alike', async () => {
    const port = await startIt();
    const attempts: ((socket: tls.TLSSocket) => ScramClient)[] = [
      (socket) => clientFor(socket, true, 'wrong'),
      () =>
        new ScramClient({
          username: 'nobody@example.org',
          password,
          nonce: 'abc',
          gs2: 'p=tls-exporter,,',
          binding: Buffer.alloc(32),
        }),
      () =>
        new ScramClient({
          username: 'alice@example.org',
          password,
          nonce: 'abc',
          gs2: 'p=tls-exporter,,',
          binding: Buffer.alloc(32),
        }),
    ];
    for (const attempt of attempts) {
      const { socket, line, send } = await connect(port);
      await line();
      const client = attempt(socket);
      send('a AUTHENTICATE SCRAM-SHA-256-PLUS');
      expect(await line()).toBe('+ ');
      send(encoded(client.first()));
      send(encoded(client.final(decoded(await line()))));
      expect(await line()).toBe('a NO [AUTHENTICATIONFAILED] user name or password is wrong');
    }
  });

  it.each([false, true])('for submission, bound to the TLS channel: %s', async (plus) => {
    const accounts = await withScram();
    submission = await startSubmission({
      host: '127.0.0.1',
      port: 0,
      implicitTls: true,
      tls: await localTls(),
      accounts,
      gate: quickGate(accounts),
      hostname: 'node.example.org',
      limits: submissionLimits,
      now: Date.now,
      log: silent,
      trace: () => undefined,
      newTraceId: () => 'T',
    });
    const { socket, line, send } = await connect(submission.port);
    const last = async (): Promise<string[]> => {
      const lines: string[] = [];
      do lines.push(await line());
      while (/^\d{3}-/.test(lines.at(-1) ?? ''));
      return lines;
    };
    await last();
    send('EHLO me.example.net');
    // mutt and neomutt choose -PLUS where they see it, and cannot do it.
    expect((await last()).join('\n')).toMatch(/AUTH PLAIN LOGIN SCRAM-SHA-256$/m);
    const wrong = clientFor(socket, plus, 'wrong');
    const mechanism = `SCRAM-SHA-256${plus ? '-PLUS' : ''}`;
    send(`AUTH ${mechanism} ${encoded(wrong.first())}`);
    send(encoded(wrong.final(decoded(await line()))));
    expect(await line()).toMatch(/^535 5\.7\.8 /);
    const client = clientFor(socket, plus, password);
    send(`AUTH ${mechanism}`);
    expect(await line()).toMatch(/^334 ?$/);
    send(encoded(client.first()));
    send(encoded(client.final(decoded(await line()))));
    expect(decoded(await line())).toBe(client.serverFinal);
    send('');
    expect(await line()).toMatch(/^235 2\.7\.0 /);
    send('MAIL FROM:<alice@example.org>');
    expect(await line()).toMatch(/^250 /);
  });
});
