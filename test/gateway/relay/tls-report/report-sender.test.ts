/** TLS reports as they leave: to a real SMTP server through the relay, and to a real HTTPS server. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { dkimVerify } from 'mailauth/lib/dkim/verify.js';
import { simpleParser } from 'mailparser';
import selfsigned from 'selfsigned';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDkimKeys, type DkimKey } from '../../../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../../../gateway/dkim/record.ts';
import { startRelay } from '../../../../gateway/relay/relay.ts';
import { decodeRelayBody } from '../../../../gateway/relay/relay-job.ts';
import { type ReportSender, startReportSender } from '../../../../gateway/relay/tls-report/report-sender.ts';
import { noPolicy } from '../../../../gateway/relay/tls-report/session-result.ts';
import { TlsBook } from '../../../../gateway/relay/tls-report/tls-book.ts';
import { returnPaths } from '../../../../gateway/returns/return-path.ts';
import { openEmbeddedQueue } from '../../../../queue/embedded.ts';
import type { Queue } from '../../../../queue/queue.ts';
import { type ZoneEntry, zoneResolver } from '../../evidence/zone.ts';
import { openGate } from '../../storage/open-gate.ts';
import { type Sink, startSink } from '../sink.ts';

const dayMs = 86_400_000;
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const today = Date.parse(`${new Date().toISOString().slice(0, 10)}T00:00:00Z`);
const yesterday = new Date(today - dayMs).toISOString().slice(0, 10);
let dir: string;
let keys: DkimKey[];
let pems: Awaited<ReturnType<typeof selfsigned.generate>>;
let queue: Queue;
let sink: Sink;
let https: ReturnType<typeof createServer>;
let posted: { type: string | undefined; url: string | undefined; body: Buffer }[];
let answer: { code: number; location?: string };
let zone: Record<string, ZoneEntry>;
let now: number;
let sender: ReportSender | undefined;

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'epost-tls-report-'));
  keys = await createDkimKeys(path.join(dir, 'dkim'), 'test');
  pems = await selfsigned.generate([{ name: 'commonName', value: 'collector.example' }], {
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'collector.example' }] }],
  });
});
afterAll(() => rm(dir, { recursive: true }));

beforeEach(async () => {
  now = today + 6 * 3_600_000;
  posted = [];
  answer = { code: 201 };
  sink = await startSink();
  https = createServer({ key: pems.private, cert: pems.cert }, (request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      posted.push({ type: request.headers['content-type'], url: request.url, body: Buffer.concat(pieces) });
      response.writeHead(answer.code, answer.location === undefined ? {} : { location: answer.location }).end('thanks');
    });
  });
  https.listen(0, '127.0.0.1');
  await once(https, 'listening');
  zone = {
    'dest.example': { MX: [{ exchange: 'mx.dest.example', priority: 10 }] },
    'mx.dest.example': { A: ['127.0.0.1'] },
    'collector.example': { A: ['127.0.0.1'] },
    '_smtp._tls.dest.example': { TXT: [['v=TLSRPTv1; rua=mailto:tls@dest.example']] },
  };
  queue = await openEmbeddedQueue({
    dir: path.join(dir, 'queue'),
    role: 'owner',
    now: Date.now,
    log: quiet,
    minFreeBytes: 1,
  });
  await count('dest.example', yesterday);
});
afterEach(async () => {
  await sender?.stop();
  sender = undefined;
  await queue.close();
  await sink.close();
  https.closeAllConnections();
  https.close();
  for (const name of ['queue', 'reports', 'ledger']) await rm(path.join(dir, name), { recursive: true, force: true });
});

/** As the relay counts what it meets. */
async function count(domain: string, day: string): Promise<void> {
  const book = new TlsBook({
    folder: path.join(dir, 'reports'),
    now: () => Date.parse(`${day}T12:00:00Z`),
    onFault: (fault) => {
      throw fault;
    },
  });
  const server = { name: 'mx.dest.example', address: '192.0.2.1' };
  book.add({ domain, policy: noPolicy, server });
  book.add({ domain, policy: noPolicy, server, failure: { type: 'starttls-not-supported', reason: 'in clear' } });
  book.stop();
}

const postUrl = (host = 'collector.example'): string =>
  `https://${host}:${(https.address() as { port: number }).port}/v1/reports`;
const wants = (...rua: string[]): void => {
  zone['_smtp._tls.dest.example'] = { TXT: [[`v=TLSRPTv1; rua=${rua.join(',')}`]] };
};

const resolver = { resolve: (name: string, type: never) => zoneResolver(zone).resolve(name, type) };
const reporter = { organization: 'example.org', contact: 'postmaster@example.org', domain: 'mx.example.org' };

/** A gateway that starts; the last one ends. */
async function starts(allowPrivate = true): Promise<void> {
  await sender?.stop();
  sender = startReportSender({
    folder: path.join(dir, 'reports'),
    queue,
    resolver,
    reporter,
    dkim: () => keys,
    https: { resolver, allowPrivate, ca: pems.cert },
    now: () => now,
    random: () => 0.5,
    newTraceId: () => 'trace-1',
    log: quiet,
    trace: () => undefined,
  });
  await sender.firstLook;
}
const jobs = async () => queue.list({ limit: 10 });

describe('the report of a day', () => {
  it('reaches a mailbox as RFC 8460 §5.3 has it, signed, through the relay of a gateway that runs', async () => {
    const relay = startRelay({
      queue,
      storage: openGate,
      post: {
        onRelayRequest: () => () => undefined,
        sendNotice: async () => ({ kind: 'sent' }),
        fetch: async () => new Uint8Array(),
        store: async () => ({}),
      },
      resolver,
      settings: { mxPort: sink.port, allowPrivate: true },
      tlsReports: { newTraceId: () => 'trace-1' },
      ledgerDir: path.join(dir, 'ledger'),
      tlsReportDir: path.join(dir, 'reports'),
      hostname: 'mx.example.org',
      returnPaths: returnPaths(Buffer.alloc(32, 1)),
      ring: { name: 'example.org', domains: ['example.org'] },
      dkim: () => keys,
      decide: () => {
        throw new Error('nothing is decided here');
      },
      maxMessageBytes: 1_000_000,
      now: () => now,
      random: () => 0.5,
      log: quiet,
      trace: () => undefined,
    });
    await expect.poll(() => sink.received.length, { timeout: 20_000 }).toBe(1);
    await relay.stop(1_000);
    const [{ data, recipients } = { data: Buffer.alloc(0), recipients: [] }] = sink.received;
    expect(recipients).toEqual(['tls@dest.example']);
    const mail = await simpleParser(data);
    expect(mail.subject).toMatch(
      /^Report Domain: dest\.example Submitter: mx\.example\.org Report-ID: <[^<>@ ]+@mx\.example\.org>$/,
    );
    expect(mail.headers.get('tls-report-domain')).toBe('dest.example');
    expect(mail.headers.get('tls-report-submitter')).toBe('mx.example.org');
    expect(mail.headers.get('tls-required')).toBe('No');
    expect(mail.headers.get('auto-submitted')).toBe('auto-generated');
    expect(mail.headers.get('content-type')).toMatchObject({
      value: 'multipart/report',
      params: { 'report-type': 'tlsrpt' },
    });
    const [attached] = mail.attachments;
    const begin = Date.parse(`${yesterday}T00:00:00Z`) / 1_000;
    expect(attached?.contentType).toBe('application/tlsrpt+gzip');
    expect(attached?.filename).toMatch(
      new RegExp(`^mx\\.example\\.org!dest\\.example!${begin}!${begin + 86_399}!\\w+\\.json\\.gz$`),
    );
    expect(JSON.parse(gunzipSync(attached?.content ?? '').toString())).toMatchObject({
      'organization-name': 'example.org',
      'contact-info': 'postmaster@example.org',
      policies: [{ summary: { 'total-successful-session-count': 1, 'total-failure-session-count': 1 } }],
    });
    const records = keys.map((key) => dkimRecord(key, 'example.org'));
    const { results } = await dkimVerify(data, {
      resolver: async (name: string) => [[...(records.find((record) => record.name === name)?.strings ?? [])]],
    });
    expect(results.map(({ status }) => status.result)).toEqual(['pass', 'pass']);
  });

  it('is mail that waits for no policy of TLS, counts as automatic, and asks for no report of its own', async () => {
    await starts();
    const [job] = await jobs();
    expect(job).toMatchObject({
      lane: 'out:dest.example',
      about: { kind: 'tls-report', automatic: 'tls@dest.example' },
    });
    expect(decodeRelayBody((await queue.get(job?.id ?? ''))?.body ?? new Uint8Array())).toMatchObject({
      tls: 'optional',
      envelopeFrom: 'postmaster@example.org',
      dsn: [['tls@dest.example', { notify: ['NEVER'] }]],
    });
  });

  it('is brought over HTTPS, where that is wanted', async () => {
    wants(postUrl());
    await starts();
    expect(posted).toMatchObject([{ type: 'application/tlsrpt+gzip', url: '/v1/reports' }]);
    expect(JSON.parse(gunzipSync(posted[0]?.body ?? '').toString())).toMatchObject({
      'report-id': `${yesterday}_dest.example@mx.example.org`,
    });
    expect(await jobs()).toEqual([]);
  });

  it('is sent once, however often a gateway starts', async () => {
    wants('mailto:tls@dest.example', postUrl());
    for (let start = 0; start < 3; start += 1) {
      await starts();
      now += 3_600_000;
    }
    expect([posted.length, (await jobs()).length]).toEqual([1, 1]);
  });

  it('what a host did not take is brought again; what others took is not', async () => {
    wants('mailto:tls@dest.example', postUrl());
    answer = { code: 500 };
    await starts();
    await starts();
    expect([posted.length, (await jobs()).length]).toEqual([2, 1]);
    answer = { code: 200 };
    await starts();
    await starts();
    expect([posted.length, (await jobs()).length]).toEqual([3, 1]);
  });

  it('follows no redirect', async () => {
    answer = { code: 307, location: postUrl() };
    wants(postUrl());
    await starts();
    expect(posted).toHaveLength(1);
  });

  it('goes to no private address, and to no host whose certificate is for another name', async () => {
    wants(postUrl());
    await starts(false);
    zone['other.example'] = { A: ['127.0.0.1'] };
    wants(postUrl('other.example'));
    await starts();
    expect(posted).toEqual([]);
  });

  it('is not sent before the day is over, with some hours for the crowd, and not long after', async () => {
    now = today + 3_600_000;
    await starts();
    expect(await jobs()).toEqual([]);
    now = today + 5 * dayMs;
    await starts();
    expect(await jobs()).toEqual([]);
    now = today + 2 * dayMs;
    await starts();
    expect(await jobs()).toHaveLength(1);
  });

  it('is for each domain that wants one, and for no other', async () => {
    await count('other.example', yesterday);
    await count('silent.example', yesterday);
    zone['_smtp._tls.silent.example'] = 'silent';
    await starts();
    expect((await jobs()).map(({ about }) => about['domain'])).toEqual(['dest.example']);
    // Whoever could not be asked is asked again, whoever wants none is not.
    for (const domain of ['silent.example', 'other.example'])
      zone[`_smtp._tls.${domain}`] = { TXT: [['v=TLSRPTv1; rua=mailto:a@dest.example']] };
    await starts();
    const told = new Set((await jobs()).map(({ about }) => about['domain']));
    expect(told).toEqual(new Set(['dest.example', 'silent.example']));
  });
});
