import { createServer as createHttp, type RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it, test } from 'vitest';
import { readEndpoint } from '../../../gateway/scan/endpoint.ts';
import { scanners } from '../../../gateway/scan/scanners.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

const listening = async (server: Server): Promise<string> => {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(async () => {
    for (const socket of open) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
};

/** A clamd that says this once it has the whole message, and the messages it got. */
async function clamd(answer: (socket: Socket) => void): Promise<{ at: string; got: Buffer[] }> {
  const got: Buffer[] = [];
  const at = await listening(
    createServer((socket) => {
      let bytes = Buffer.alloc(0);
      socket.on('data', (part) => {
        bytes = Buffer.concat([bytes, part]);
        if (!bytes.subarray(-4).equals(Buffer.alloc(4))) return;
        got.push(unchunked(bytes));
        answer(socket);
      });
    }),
  );
  return { at, got };
}

function unchunked(bytes: Buffer): Buffer {
  expect(bytes.subarray(0, 10).toString()).toBe('zINSTREAM\0');
  const parts: Buffer[] = [];
  for (let at = 10; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    parts.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return Buffer.concat(parts);
}

const rspamd = async (listener: RequestListener): Promise<string> => listening(createHttp(listener));
const facts = {
  ip: '192.0.2.1',
  helo: 'x\r\nFrom: y',
  from: 'a@far.example',
  recipients: ['b@example.org', 'c@example.org'],
  hostname: 'mx.example.org',
};
const message = Buffer.from('Subject: x\r\n\r\ntext\r\n');
const asked = (at: { clamav?: string; rspamd?: string }, timeoutMs = 5_000) =>
  scanners({ clamav: null, rspamd: null, ...at, timeoutMs }).of(message, facts);

describe('ClamAV', () => {
  test.each<[why: string, answer: string, expected: object]>([
    ['that found nothing', 'stream: OK\0', { result: 'clean' }],
    ['that found something', 'stream: Eicar-Test FOUND\0', { result: 'infected', name: 'Eicar-Test' }],
    [
      'that was given too much has not looked',
      'INSTREAM size limit exceeded. ERROR\0',
      { result: 'unknown', reason: expect.stringContaining('size limit') },
    ],
    ['that speaks of another thing says nothing', 'OK\0', { result: 'unknown' }],
    [
      'that answers without end is cut off',
      'x'.repeat(10_000),
      { result: 'unknown', reason: expect.stringContaining('too long') },
    ],
  ])('%s', async (_why, answer, expected) => {
    const { at, got } = await clamd((socket) => socket.write(answer));
    expect((await asked({ clamav: at })).clamav).toMatchObject(expected);
    expect(got[0]?.toString()).toBe(message.toString());
  });

  test.each<[why: string, answer: (socket: Socket) => void, reason: string]>([
    ['that hangs up', (socket) => socket.destroy(), 'without an answer'],
    ['that is silent', () => undefined, 'in time'],
  ])('%s is unknown, never clean', async (_why, answer, reason) => {
    const { at } = await clamd(answer);
    expect((await asked({ clamav: at }, 300)).clamav).toMatchObject({
      result: 'unknown',
      reason: expect.stringContaining(reason),
    });
  });

  it('that is not there is unknown', async () => {
    const { clamav } = await asked({ clamav: '/nowhere/clamd.ctl' });
    expect(clamav).toMatchObject({ result: 'unknown', reason: expect.stringContaining('ENOENT') });
  });

  it('gets a large message whole, however slowly it reads', async () => {
    const large = Buffer.alloc(3_000_000, 'abc');
    const { at, got } = await clamd((socket) => socket.write('stream: OK\0'));
    const answer = await scanners({ clamav: at, rspamd: null, timeoutMs: 20_000 }).of(large, facts);
    expect(answer.clamav.result).toBe('clean');
    expect(got[0]?.equals(large)).toBe(true);
  });
});

describe('rspamd', () => {
  it('is told what the session knew, and what it says is kept short', async () => {
    const seen: string[][] = [];
    const at = await rspamd((asking, answer) => {
      seen.push(asking.rawHeaders);
      asking.resume().on('end', () =>
        answer.end(
          JSON.stringify({
            action: 'add header',
            score: 6.54,
            required_score: 15,
            symbols: { B: {}, A: { score: 1 } },
          }),
        ),
      );
    });
    expect((await asked({ rspamd: at })).rspamd).toEqual({
      result: 'add-header',
      score: 65,
      symbols: ['A', 'B'],
      reason: '',
    });
    const headers = seen[0] ?? [];
    expect(headers.filter((_, index) => headers[index - 1] === 'Rcpt')).toEqual(['b@example.org', 'c@example.org']);
    expect(headers[headers.indexOf('Helo') + 1]).toBe('x??From: y');
  });

  test.each<[why: string, listener: RequestListener, reason: string]>([
    ['of another mind', (_, answer) => answer.writeHead(403).end('{}'), 'HTTP 403'],
    ['that answers no JSON', (_, answer) => answer.end('<html>'), 'no sense'],
    ['that advises something new', (_, answer) => answer.end('{"action":"explode","score":1}'), 'no sense'],
    ['that answers without end', (_, answer) => answer.end(' '.repeat(600_000)), 'too long'],
    ['that is silent', () => undefined, 'in time'],
  ])('%s is unknown', async (_why, listener, reason) => {
    const at = await rspamd(listener);
    const { rspamd: said } = await asked({ rspamd: at }, 500);
    expect(said).toMatchObject({ result: 'unknown', reason: expect.stringContaining(reason) });
  });
});

it('asks ten at once and no more', async () => {
  let [open, most] = [0, 0];
  const { at } = await clamd((socket) => {
    open += 1;
    most = Math.max(most, open);
    socket.once('close', () => (open -= 1));
    setTimeout(() => socket.write('stream: OK\0'), 20);
  });
  const scan = scanners({ clamav: at, rspamd: null, timeoutMs: 20_000 });
  const answers = await Promise.all(Array.from({ length: 35 }, () => scan.of(message, facts)));
  expect(answers.every(({ clamav }) => clamav.result === 'clean')).toBe(true);
  expect(most).toBeLessThanOrEqual(10);
});

it('has nobody wait longer than his time for a turn that does not come', async () => {
  const { at } = await clamd(() => undefined);
  const scan = scanners({ clamav: at, rspamd: null, timeoutMs: 300 });
  const answers = await Promise.all(Array.from({ length: 25 }, () => scan.of(message, facts)));
  expect(answers.every(({ clamav }) => clamav.result === 'unknown')).toBe(true);
});

it('asks nobody who is not named', async () => {
  expect(await asked({})).toMatchObject({ clamav: { result: 'none' }, rspamd: { result: 'none' } });
});

test.each([
  ['/run/clamav/clamd.ctl', { path: '/run/clamav/clamd.ctl' }],
  ['127.0.0.1:11333', { host: '127.0.0.1', port: 11_333 }],
  ['[::1]:3310', { host: '::1', port: 3310 }],
  ['192.0.2.1:3310', undefined],
  ['localhost:3310', undefined],
  ['127.0.0.1:0', undefined],
  [`/${'x'.repeat(200)}`, undefined],
  ['', undefined],
])('%j is a place on this machine, or it is refused', (text, expected) => {
  expect(readEndpoint(text)).toEqual(expected);
});
