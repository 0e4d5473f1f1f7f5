import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dkimVerify } from 'mailauth/lib/dkim/verify.js';
import selfsigned from 'selfsigned';
import { SMTPServer } from 'smtp-server';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDkimKeys, type DkimKey } from '../../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../../gateway/dkim/record.ts';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import type { Told } from '../../../gateway/relay/deliver-parts.ts';
import { Ledger } from '../../../gateway/relay/ledger.ts';
import type { NoticeFacts } from '../../../gateway/relay/notice.ts';
import { type Relay, type RelaySettings, startRelay } from '../../../gateway/relay/relay.ts';
import { decodeRelayBody, encodeRelayBody } from '../../../gateway/relay/relay-job.ts';
import { dayOf } from '../../../gateway/relay/tls-report/day-tally.ts';
import { readDay } from '../../../gateway/relay/tls-report/tls-book.ts';
import { returnPaths } from '../../../gateway/returns/return-path.ts';
import type { RelayAnswer, RelayRequest } from '../../../node/door/gateway-post.ts';
import type { Address } from '../../../policy/address.ts';
import type { Decision } from '../../../policy/decide.ts';
import type { Evidence } from '../../../policy/evidence.ts';
import { openEmbeddedQueue } from '../../../queue/embedded.ts';
import type { Queue } from '../../../queue/queue.ts';
import { type DnsServer, startDnsServer } from '../dns-server.ts';
import { openGate } from '../storage/open-gate.ts';
import { type Sink, startSink } from './sink.ts';

async function until(what: string, check: () => Promise<boolean> | boolean): Promise<void> {
  const end = Date.now() + 15_000;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`it never came true that ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const message = Buffer.from(
  'From: Alice <alice@example.org>\r\nTo: x@dest.example\r\nBcc: secret@dest.example\r\nSubject: hi\r\n\r\nHello\r\n.dot\r\n',
);

const paths = returnPaths(Buffer.alloc(32, 1));
let dir: string;
let keys: DkimKey[];
let dns: DnsServer;
let aheadMs = 0;
let isDnsDown: boolean;
let sink: Sink;
let queue: Queue;
let relay: Relay;
let notices: NoticeFacts[];
let tell: () => Told;
let ask: (request: RelayRequest) => Promise<RelayAnswer>;
let decision: Pick<Decision, 'verdict' | 'rule'>;
let decidedOn: Evidence[];
let fetched: () => Uint8Array;
let traced: Record<string, unknown>[];
let aliasOf: (address: Address) => Address | undefined;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'epost-relay-'));
  keys = await createDkimKeys(join(dir, 'dkim'), 'test');
});

afterAll(() => rm(dir, { recursive: true }));

async function start(settings: RelaySettings = {}): Promise<void> {
  queue = await openEmbeddedQueue({
    dir: join(dir, 'queue'),
    role: 'owner',
    now: Date.now,
    log: quiet,
    minFreeBytes: 1,
  });
  const real = createResolver({ servers: [dns.address], timeoutMs: 1_000, now: Date.now });
  relay = startRelay({
    queue,
    storage: openGate,
    post: {
      onRelayRequest(handler) {
        ask = handler;
        return () => undefined;
      },
      sendNotice: async (facts) => {
        const told = tell();
        if (told.kind === 'sent') notices.push(facts);
        return told;
      },
      fetch: async () => fetched(),
      store: async () => ({}),
    },
    resolver: {
      resolve: async (name, type) => (isDnsDown ? { kind: 'unknown', reason: 'silent' } : real.resolve(name, type)),
    },
    settings: {
      mxPort: sink.port,
      allowPrivate: true,
      retry: { firstMs: 20, maxMs: 50, giveUpMs: 60_000 },
      ...settings,
    },
    ledgerDir: join(dir, 'ledger'),
    tlsReportDir: join(dir, 'tls-reports'),
    hostname: 'gw.example.org',
    returnPaths: paths,
    ring: { name: 'example.org', domains: ['example.org'] },
    dkim: () => keys,
    decide: (evidence) => {
      decidedOn.push(evidence);
      return { class: 'ring-user', stage: 'relay', policyHash: '', trace: [], shadow: [], ...decision };
    },
    aliasOf: async (address) => aliasOf(address),
    maxMessageBytes: 1_000_000,
    now: () => Date.now() + aheadMs,
    random: Math.random,
    log: quiet,
    trace: (id, event) => traced.push({ ...event, id }),
  });
}

beforeEach(async () => {
  aliasOf = () => undefined;
  notices = [];
  traced = [];
  isDnsDown = false;
  aheadMs = 0;
  decidedOn = [];
  tell = () => ({ kind: 'sent' });
  fetched = () => message;
  decision = { verdict: 'accept', rule: 'default' };
  sink = await startSink();
  dns = await startDnsServer({
    'dest.example': { MX: [{ preference: 10, exchange: 'mx.dest.example' }] },
    'other.example': { MX: [{ preference: 10, exchange: 'mx.dest.example' }] },
    'mx.dest.example': { A: ['127.0.0.1'] },
    'null.example': { MX: [{ preference: 0, exchange: '.' }] },
    'dead.example': {
      MX: [
        { preference: 10, exchange: 'dead-host.example' },
        { preference: 20, exchange: 'mx.dest.example' },
      ],
    },
    'dead-host.example': { A: ['127.0.0.2'] },
    'nowhere.example': { MX: [{ preference: 10, exchange: 'dead-host.example' }] },
    'broken.example': 'servfail',
  });
  await start();
});

afterEach(async () => {
  await relay.stop(1_000);
  await queue.close();
  await sink.close();
  await dns.close();
  await rm(join(dir, 'queue'), { recursive: true });
  await rm(join(dir, 'ledger'), { recursive: true });
  await rm(join(dir, 'tls-reports'), { recursive: true, force: true });
});

let requests = 0;
interface Fields {
  readonly bytes?: Uint8Array;
  readonly from?: string;
  readonly id?: string;
  readonly dsn?: RelayRequest['envelope']['dsn'];
  readonly envelope?: Partial<RelayRequest['envelope']>;
}

function request(to: string[], fields: Fields = {}): RelayRequest {
  requests += 1;
  const bytes = fields.bytes ?? message;
  const id = fields.id ?? createHash('sha256').update(`request ${requests}`).digest('hex');
  const from = { kind: 'user', address: 'alice@example.org', ring: 'example.org', notBefore: Date.now() - 86_400_000 };
  return {
    id,
    from: from as unknown as RelayRequest['from'],
    proof: { key: 'k', issuer: 'i', standing: 'good' },
    envelope: { from: fields.from ?? 'alice@example.org', to, dsn: fields.dsn, ...fields.envelope },
    message: {} as RelayRequest['message'],
    trace: `trace-${requests}`,
    at: Date.now(),
    carried: async () => ({ kind: 'own' }),
    bytes: async () => bytes,
  };
}

const jobOf = async (one: RelayRequest, domain = 'dest.example') => queue.get(`relay ${one.id} ${domain}`);

async function accepted(to: string[], domain = 'dest.example', fields: Fields = {}) {
  const one = request(to, fields);
  expect(await ask(one)).toEqual({ verdict: 'accepted' });
  return { one, done: () => until('the job is done', async () => (await jobOf(one, domain))?.state === 'done') };
}

test('the timeline at the gateway says whose mail it is, also where the submission was at another machine', async () => {
  const { one, done } = await accepted(['bob@dest.example'], 'dest.example', { from: 'alice@example.org' });
  await done();
  expect(traced).toContainEqual(
    expect.objectContaining({ id: one.trace, what: 'queued', from: 'alice@example.org', to: ['bob@dest.example'] }),
  );
});

describe('pace and trouble', () => {
  test('a resolver that answers nothing burns no attempt and lets no mail expire; when it answers, the mail goes', async () => {
    await relay.stop(1_000);
    await queue.close();
    await start({ retry: { firstMs: 20, maxMs: 50, giveUpMs: 1_000 } });
    isDnsDown = true;
    const { one, done } = await accepted(['bob@dest.example']);
    await until('it was put off', async () => (await jobOf(one))?.putOff !== undefined);
    await new Promise((resolve) => {
      setTimeout(resolve, 1_100);
    });
    // Older than it may become, and asked for once more.
    await queue.retry(`relay ${one.id} dest.example`);
    await until('it was put off again', async () => ((await jobOf(one))?.dueAt ?? 0) > Date.now() + 1_000);
    expect(await jobOf(one)).toMatchObject({ state: 'due', attemptCount: 0, attempts: [] });
    expect((await jobOf(one))?.putOff).toContain('the resolver answers nothing');
    expect(notices).toEqual([]);
    isDnsDown = false;
    await queue.retry(`relay ${one.id} dest.example`);
    await done();
    expect(sink.received).toHaveLength(1);
  });

  test('after four hours the sender is told once that his mail waits, also where that is for want of a resolver', async () => {
    isDnsDown = true;
    const { one } = await accepted(['bob@dest.example'], 'dest.example', { from: 'alice@example.org' });
    await until('it was put off', async () => (await jobOf(one))?.putOff !== undefined);
    await relay.stop(1_000);
    await queue.close();
    await start({ retry: { firstMs: 20, maxMs: 50, giveUpMs: 5 * 86_400_000 } });
    aheadMs = 4 * 3_600_000;
    await queue.retry(`relay ${one.id} dest.example`);
    await until('he is told', () => notices.length > 0);
    expect(notices[0]?.recipients).toMatchObject([{ address: 'bob@dest.example', action: 'delayed' }]);
    await until('that is written down', async () => (await jobOf(one))?.state === 'due');
    // Neither this nor a restart makes him be told again, and nothing counts as a try of the destination but the one that told it.
    await queue.retry(`relay ${one.id} dest.example`);
    await until('it was put off again', async () => (await jobOf(one))?.putOff !== undefined);
    expect(notices).toHaveLength(1);
    expect(await jobOf(one)).toMatchObject({ state: 'due', attemptCount: 1 });
    aheadMs = 0;
    isDnsDown = false;
    await queue.retry(`relay ${one.id} dest.example`);
    await until('it arrives', () => sink.received.length === 1);
  });

  test('a domain whose own name servers are dead is tried again as any dead destination', async () => {
    const { one } = await accepted(['bob@broken.example'], 'broken.example');
    await until('it was tried', async () => ((await jobOf(one, 'broken.example'))?.attemptCount ?? 0) > 0);
    expect((await jobOf(one, 'broken.example'))?.attempts[0]?.why).toContain('could not be looked up');
  });

  test('a host that does not answer is asked by one message, and the others are told so', async () => {
    const sent = await Promise.all([1, 2, 3].map(async () => accepted(['x@nowhere.example'], 'nowhere.example')));
    const whys = async () =>
      (await Promise.all(sent.map(async ({ one }) => jobOf(one, 'nowhere.example')))).flatMap(
        (job) => job?.attempts ?? [],
      );
    await until('all were tried', async () => (await whys()).length >= 12);
    expect((await whys()).filter(({ why }) => why.includes('not tried again so soon')).length).toBeGreaterThan(6);
  });

  test('what is to be ended is ended, and its sender told why', async () => {
    sink.script.rcpt = () => '451 4.7.1 not yet';
    const { one, done } = await accepted(['bob@dest.example']);
    await until('it was tried', async () => ((await jobOf(one))?.attemptCount ?? 0) > 0);
    await until('it can be ended', async () => queue.fail(`relay ${one.id} dest.example`, 'sent by mistake'));
    await done();
    expect(notices.at(-1)?.recipients).toMatchObject([{ address: 'bob@dest.example', action: 'failed' }]);
    expect(notices.at(-1)?.recipients[0]?.text).toContain('sent by mistake');
  });
});

describe('delivery', () => {
  test('a message arrives signed by both keys, put in order, and as it was signed', async () => {
    const { done } = await accepted(['Bob.Case@dest.example']);
    await done();
    const [received] = sink.received;
    expect(received).toMatchObject({ recipients: ['Bob.Case@dest.example'] });
    // By an address that proves what comes back to it.
    expect(paths.open(received?.from ?? '', Date.now())).toEqual({ kind: 'signed', address: 'alice@example.org' });
    const text = received!.data.toString('latin1');
    expect(text).toMatch(/^Received: from example\.org \(ePOST ring\) by gw\.example\.org\r\n/);
    expect(text).not.toMatch(/^Bcc/m);
    expect(text).toMatch(/^Message-ID: <[0-9a-f]{32}@gw\.example\.org>\r$/m);
    expect(text).toMatch(/^Date: /m);
    expect(text.endsWith('\r\n\r\nHello\r\n.dot\r\n')).toBe(true);
    const records = keys.map((key) => dkimRecord(key, 'example.org'));
    const { results } = await dkimVerify(received!.data, {
      resolver: async (name: string) => [[...(records.find((record) => record.name === name)?.strings ?? [])]],
    });
    expect(results.map(({ status }) => status.result)).toEqual(['pass', 'pass']);
  });

  test('one job for each domain, and the same request again changes nothing', async () => {
    const one = request(['a@dest.example', 'b@other.example', 'c@dest.example']);
    expect(await ask(one)).toEqual({ verdict: 'accepted' });
    expect(await ask(one)).toEqual({ verdict: 'accepted' });
    await until('both are delivered', async () => (await queue.counts()).done === 2);
    expect(sink.received.map(({ recipients }) => recipients.join(' ')).sort()).toEqual([
      'a@dest.example c@dest.example',
      'b@other.example',
    ]);
    expect(decidedOn).toHaveLength(1);
  });

  test('connections are used again', async () => {
    for (const name of ['a', 'b', 'c']) await (await accepted([`${name}@dest.example`])).done();
    expect([sink.received.length, sink.connections]).toEqual([3, 1]);
  });

  test('a kept connection that the host closed meanwhile costs nothing', async () => {
    await (await accepted(['a@dest.example'])).done();
    const connections = sink.connections;
    sink.script.mail = () => (sink.connections === connections ? '421 4.3.2 closing' : undefined);
    const { one, done } = await accepted(['b@dest.example']);
    await done();
    expect((await jobOf(one))!.attemptCount).toBe(1);
  });

  test('one of three recipients refused for good, one for now: each has its own fate', async () => {
    let busy = 2;
    sink.script.rcpt = (to) => {
      if (to.startsWith('gone')) return '550 5.1.1 no such user here';
      if (to.startsWith('busy') && busy-- > 0) return '450 4.2.1 mailbox busy';
      return undefined;
    };
    const { one, done } = await accepted(['ok@dest.example', 'gone@dest.example', 'busy@dest.example']);
    await done();
    expect(sink.received.map(({ recipients }) => recipients)).toEqual([['ok@dest.example'], ['busy@dest.example']]);
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatchObject({
      reportingMta: 'gw.example.org',
      sender: 'alice@example.org',
      recipients: [
        {
          address: 'gone@dest.example',
          action: 'failed',
          status: '5.1.1',
          diagnostic: 'smtp; 550 5.1.1 no such user here',
          remoteMta: 'mx.dest.example',
        },
      ],
    });
    expect(Buffer.from(notices[0]!.originalHeader).toString()).toContain('Subject: hi');
    expect((await jobOf(one))!.attempts.at(-1)?.outcome).toBe('done');
  });

  const passing: [why: string, set: (once: <T>(value: T) => T | undefined) => void][] = [
    [
      '4xx to the greeting',
      (once) => Object.defineProperty(sink.script, 'greeting', { get: () => once('421 4.3.2 busy') }),
    ],
    ['4xx to MAIL', (once) => (sink.script.mail = () => once('451 4.3.0 try later'))],
    ['4xx to RCPT', (once) => (sink.script.rcpt = () => once('450 4.7.1 greylisted'))],
    ['4xx to DATA', (once) => (sink.script.data = () => once('452 4.3.1 disk full'))],
    ['4xx to the final dot', (once) => (sink.script.end = () => once('451 4.3.0 aborted'))],
    ['a broken connection at the final dot', (once) => (sink.script.end = () => once('reset'))],
    [
      'a broken connection in the middle of DATA',
      () => Object.defineProperty(sink.script, 'resetInData', { get: () => (sink.connections === 1 ? 10 : undefined) }),
    ],
  ];
  test.each(passing)('%s is tried again, and nobody is troubled', async (_, set) => {
    let times = 0;
    set((value) => (times++ === 0 ? value : undefined));
    const { one, done } = await accepted(['a@dest.example']);
    await done();
    expect(sink.received).toHaveLength(1);
    expect((await jobOf(one))!.attemptCount).toBe(2);
    expect(notices).toEqual([]);
  });

  const final: [why: string, set: () => void, status: string][] = [
    ['5xx to MAIL', () => (sink.script.mail = () => '550 5.7.1 we do not like you'), '5.7.1'],
    ['5xx to RCPT', () => (sink.script.rcpt = () => '550 no such user'), '5.0.0'],
    ['5xx to DATA', () => (sink.script.data = () => '554 5.6.0 no'), '5.6.0'],
    ['5xx to the final dot', () => (sink.script.end = () => '554 5.7.0 spam'), '5.7.0'],
    ['a size limit below the message', () => (sink.script.ehlo = ['SIZE 20']), '5.3.4'],
  ];
  test.each(final)('%s is told to the sender once, and not tried again', async (_, set, status) => {
    set();
    const { one, done } = await accepted(['a@dest.example']);
    await done();
    expect(sink.received).toEqual([]);
    expect(notices.map((notice) => notice.recipients.map((recipient) => recipient.status))).toEqual([[status]]);
    expect((await jobOf(one))!.attemptCount).toBe(2);
  });

  test('a null MX and a domain that does not exist are told without any connection', async () => {
    await (await accepted(['a@null.example'], 'null.example')).done();
    await (await accepted(['a@missing.test'], 'missing.test')).done();
    expect(notices.map((notice) => notice.recipients[0]?.status)).toEqual(['5.1.10', '5.1.2']);
    expect(sink.connections).toBe(0);
  });

  test('a dead first server is passed over for the second', async () => {
    const { one, done } = await accepted(['a@dead.example'], 'dead.example');
    await done();
    expect([sink.received.length, (await jobOf(one, 'dead.example'))!.attemptCount]).toEqual([1, 1]);
  });

  test('a sender who cannot be told now is told later, and the message is not sent again', async () => {
    sink.script.rcpt = () => '550 5.1.1 no';
    let times = 0;
    tell = () => (times++ < 2 ? { kind: 'later', reason: 'the node is away' } : { kind: 'sent' });
    const { done } = await accepted(['a@dest.example']);
    await done();
    expect(notices).toHaveLength(1);
    expect(sink.commands.filter((line) => line.startsWith('RCPT'))).toHaveLength(1);
  });

  test('a message that cannot be delivered in time goes back to its sender', async () => {
    await relay.stop(0);
    await queue.close();
    await start({ retry: { firstMs: 20, maxMs: 50, giveUpMs: 100 } });
    sink.script.rcpt = () => '450 4.2.1 mailbox busy';
    const { done } = await accepted(['a@dest.example']);
    await done();
    expect(notices[0]?.recipients[0]).toMatchObject({ action: 'failed', status: '5.4.7' });
    expect(notices[0]?.recipients[0]?.text).toContain('450 4.2.1 mailbox busy');
  });

  async function keptInTheRing(arrivedAt: number): Promise<void> {
    const body = encodeRelayBody({
      version: 1,
      trace: 't',
      identity: 'alice@example.org',
      envelopeFrom: 'alice@example.org',
      recipients: ['a@dest.example'],
      arrivedAt,
      message: { kind: 'ring', ref: {} },
    });
    await queue.add([{ id: 'large', lane: 'out:dest.example', body, about: {} }]);
  }

  test('a message that the ring cannot give now is waited for, not set aside', async () => {
    let away = 6;
    fetched = () => {
      away -= 1;
      if (away >= 0) throw new Error('the node is away');
      return message;
    };
    await keptInTheRing(Date.now());
    await until('it is delivered', async () => (await queue.get('large'))?.state === 'done');
    expect(sink.received).toHaveLength(1);
    expect((await queue.get('large'))?.attempts.map(({ outcome }) => outcome)).not.toContain('crashed');
  });

  test('a message that the ring has lost is told to its sender in the end', async () => {
    fetched = () => {
      throw new Error('all holders say no');
    };
    await keptInTheRing(Date.now() - 60_001);
    await until('it is done', async () => (await queue.get('large'))?.state === 'done');
    expect(notices[0]?.recipients[0]).toMatchObject({ action: 'failed', status: '5.4.7' });
    expect(notices[0]?.recipients[0]?.text).toContain('all holders say no');
  });

  test('a sender who can never be told is left to the postmaster in the end', async () => {
    sink.script.rcpt = () => '550 5.1.1 no';
    tell = () => ({ kind: 'later', reason: 'nobody knows him' });
    await keptInTheRing(Date.now() - 120_001);
    await until('it is set aside', async () => (await queue.get('large'))?.state === 'failed');
    expect((await queue.get('large'))?.attempts.at(-1)?.why).toContain('nobody knows him');
  });

  test('what the ledger knows as delivered is not sent again', async () => {
    const one = request(['a@dest.example', 'b@dest.example']);
    new Ledger(join(dir, 'ledger'), Date.now).write(`relay ${one.id} dest.example`, ['a@dest.example']);
    await relay.stop(0);
    await queue.close();
    await start();
    await ask(one);
    await until('the job is done', async () => (await jobOf(one))?.state === 'done');
    expect(sink.received.map(({ recipients }) => recipients)).toEqual([['b@dest.example']]);
  });

  test('a kill -9 between the host’s 250 and the queue’s "done" makes no second copy', async () => {
    decision = { verdict: 'hold', rule: 'for the child' };
    const one = request(['a@dest.example']);
    await ask(one);
    await relay.stop(0);
    await queue.close();
    const args = [join(import.meta.dirname, 'kill-child.ts'), dir, dns.address, String(sink.port)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    await until('the attempt ended', () => output.includes('ended done'));
    child.kill('SIGKILL');
    await new Promise((resolve) => {
      child.once('close', resolve);
    });
    await start();
    await until('the job is done', async () => (await jobOf(one))?.state === 'done');
    expect(sink.received).toHaveLength(1);
    const { attempts } = (await jobOf(one))!;
    expect(attempts.map(({ outcome }) => outcome)).toEqual(['crashed', 'done']);
    expect(attempts[1]?.why).toContain('accepted in an attempt that did not end');
  });

  test('what TLS came to is counted for the domain’s report, and that of a dead host is not', async () => {
    await ask(request(['a@dead.example']));
    await until('the mail is there', async () => (await queue.counts()).done === 1);
    await relay.stop(1_000);
    expect(readDay(join(dir, 'tls-reports'), dayOf(Date.now()))?.policies).toMatchObject([
      {
        domain: 'dead.example',
        type: 'no-policy-found',
        successful: 0,
        failed: 1,
        failures: [{ type: 'starttls-not-supported', server: 'mx.dest.example', address: '127.0.0.1' }],
      },
    ]);
  });

  test('8-bit and international mail says so, and a real server takes it over TLS', async () => {
    const { private: key, cert } = await selfsigned.generate([{ name: 'commonName', value: 'mx.dest.example' }]);
    const seen: { secure: boolean; args: unknown; data: Buffer }[] = [];
    const server = new SMTPServer({
      key,
      cert,
      disabledCommands: ['AUTH'],
      onData(stream, session, callback) {
        const pieces: Buffer[] = [];
        stream.on('data', (piece: Buffer) => pieces.push(piece));
        stream.on('end', () => {
          const args = session.envelope.mailFrom === false ? false : session.envelope.mailFrom.args;
          seen.push({ secure: session.secure, args, data: Buffer.concat(pieces) });
          callback();
        });
      },
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const { port } = server.server.address() as { port: number };
    await relay.stop(0);
    await queue.close();
    await start({ smarthost: { host: '127.0.0.1', port } });
    const bytes = Buffer.from('From: Älice <alice@example.org>\r\nSubject: ü\r\n\r\nH\u00e9llo\r\n');
    const one = request(['jürgen@dest.example'], { bytes });
    expect(await ask(one)).toEqual({ verdict: 'accepted' });
    await until('the job is done', async () => (await jobOf(one))?.state === 'done');
    expect(seen[0]).toMatchObject({ secure: true, args: { SMTPUTF8: true, BODY: '8BITMIME' } });
    expect(seen[0]!.data.toString().endsWith('\r\n\r\nHéllo\r\n')).toBe(true);
    await relay.stop(1_000);
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
  });
});

describe('reports that the sender asked for, or asked not to get (RFC 3461)', () => {
  const to = ['a@dest.example', 'b@dest.example'];
  const both = (notify: readonly string[], orcpt?: string): Fields => ({ dsn: to.map(() => ({ notify, orcpt })) });
  const told = () =>
    notices.flatMap(({ recipients }) => recipients.map(({ address, action }) => `${address} ${action}`));

  test('are passed on to a host that takes them over, each with its recipient', async () => {
    sink.script.ehlo = ['PIPELINING', 'DSN'];
    const dsn = [{ notify: ['SUCCESS', 'DELAY'], orcpt: 'rfc822;Old=Name+x@example.net' }, null];
    await (await accepted(to, 'dest.example', { dsn })).done();
    expect(sink.commands.filter((line) => line.startsWith('RCPT'))).toEqual([
      'RCPT TO:<a@dest.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Old+3DName+2Bx@example.net',
      'RCPT TO:<b@dest.example>',
    ]);
    expect(notices).toEqual([]);
  });

  test('of success come from us where the host does not know reports, once, and no parameter goes to it', async () => {
    const { one, done } = await accepted(to, 'dest.example', both(['SUCCESS'], 'rfc822;first@example.net'));
    await done();
    expect(sink.commands.filter((line) => line.startsWith('RCPT')).join(' ')).not.toMatch(/NOTIFY|ORCPT/);
    expect(told()).toEqual(['a@dest.example relayed', 'b@dest.example relayed']);
    expect(notices[0]?.recipients[0]).toMatchObject({ status: '2.0.0', orcpt: 'rfc822;first@example.net' });
    expect((await jobOf(one))?.attempts.at(-1)?.why).toContain('as he asked');
  });

  const rows: readonly [why: string, notify: readonly string[], told: readonly string[]][] = [
    ['asked nothing: told', [], ['a@dest.example failed', 'b@dest.example failed']],
    ['asked for failures: told', ['FAILURE', 'DELAY'], ['a@dest.example failed', 'b@dest.example failed']],
    ['asked for nothing at all: not told', ['NEVER'], []],
    ['asked for success alone: not told', ['SUCCESS'], []],
  ];
  test.each(rows)('of failure: %s', async (_why, notify, expected) => {
    sink.script.rcpt = () => '550 5.1.1 no';
    await (await accepted(to, 'dest.example', both(notify))).done();
    expect(told()).toEqual(expected);
  });

  const large = Buffer.concat([message, Buffer.alloc(300 * 1024, 'line\r\n')]);
  const returned: readonly [why: string, ret: 'FULL' | 'HDRS' | undefined, bytes: Buffer, isWhole: boolean][] = [
    ['all of it where that was asked for (RFC 3461 §4.3)', 'FULL', message, true],
    ['the header where that was asked for', 'HDRS', message, false],
    ['the header where nothing was', undefined, message, false],
    ['the header of what is more than a report bears', 'FULL', large, false],
  ];
  test.each(returned)('of failure return %s', async (_why, ret, bytes, isWhole) => {
    sink.script.rcpt = () => '550 5.1.1 no';
    await (await accepted(to, 'dest.example', { bytes, envelope: { ret } })).done();
    const { original, originalHeader } = notices[0] ?? {};
    const text = (octets: Uint8Array = new Uint8Array()): string => Buffer.from(octets).toString();
    expect(text(originalHeader)).toMatch(/Subject: hi\r\n/);
    expect(text(originalHeader)).not.toContain('Hello');
    if (isWhole) expect(text(original)).toBe(`${text(originalHeader)}\r\nHello\r\n.dot\r\n`);
    else expect(original).toBeUndefined();
  });

  test('of success return the header, whatever was asked for', async () => {
    await (await accepted(to, 'dest.example', { ...both(['SUCCESS']), envelope: { ret: 'FULL' } })).done();
    expect(notices).toHaveLength(1);
    expect(notices[0]?.original).toBeUndefined();
  });

  test('of one who failed and one who did not are two reports', async () => {
    sink.script.rcpt = (address) => (address === 'a@dest.example' ? '550 5.1.1 no' : undefined);
    await (await accepted(to, 'dest.example', both(['SUCCESS', 'FAILURE']))).done();
    expect(told()).toEqual(['a@dest.example failed', 'b@dest.example relayed']);
    expect(notices).toHaveLength(2);
    expect(sink.received).toHaveLength(1);
  });
});

test('what no person sends is known as such in the queue: by its null return path, or by what its header says', async () => {
  const robot = Buffer.concat([Buffer.from('Auto-Submitted: auto-generated\r\n'), message]);
  const fields: Fields[] = [{ from: '' }, { bytes: robot }, {}];
  const known: unknown[] = [];
  for (const one of fields) {
    const { one: sent } = await accepted(['a@dest.example'], 'dest.example', one);
    known.push((await jobOf(sent))?.about['automatic']);
  }
  const counted = 'alice@example.org to dest.example';
  expect(known).toEqual([counted, counted, undefined]);
});

describe('an address literal as recipient (RFC 5321 §4.1.3)', () => {
  test('is refused, and says why, unless a setting takes it; then mail goes to that place', async () => {
    const to = ['bob@[127.0.0.1]', 'Carol.X@[127.0.0.1]'];
    expect(await ask(request(to))).toEqual({ verdict: 'refused', rule: 'address-literal' });
    await relay.stop(1_000);
    await queue.close();
    await start({ addressLiterals: true });
    const { done } = await accepted(to, '[127.0.0.1]');
    await done();
    expect(sink.received.map(({ recipients }) => recipients)).toEqual([to]);
    expect(readDay(join(dir, 'tls-reports'), dayOf(Date.now()))).toBeUndefined();
  });

  test('in a private network fails at once, also where literals are taken', async () => {
    await relay.stop(1_000);
    await queue.close();
    await start({ addressLiterals: true, allowPrivate: false });
    await (await accepted(['bob@[10.0.0.1]'], '[10.0.0.1]')).done();
    expect(notices[0]?.recipients).toMatchObject([{ address: 'bob@[10.0.0.1]', action: 'failed', status: '5.4.4' }]);
  });
});

describe('what the sender says of TLS (RFC 8689)', () => {
  const waiving = Buffer.concat([Buffer.from('TLS-Required: No\r\n'), message]);
  const rows: [why: string, fields: Fields, wanted: object][] = [
    ['nothing is nothing', {}, { tls: undefined, ret: undefined }],
    ['TLS-Required: No waives it', { bytes: waiving, envelope: { ret: 'FULL' } }, { tls: 'optional', ret: 'FULL' }],
    [
      'said twice it counts for nothing',
      { bytes: Buffer.concat([Buffer.from('TLS-Required: no\r\n'), waiving]) },
      { tls: undefined, ret: undefined },
    ],
    [
      'REQUIRETLS goes before the field, and lets no report return the text (§5)',
      { bytes: waiving, envelope: { requireTls: true, ret: 'FULL' } },
      { tls: 'required', ret: 'HDRS' },
    ],
  ];
  test.each(rows)('%s', async (_why, fields, wanted) => {
    decision = { verdict: 'hold', rule: 'look' };
    const one = request(['a@dest.example'], fields);
    expect(await ask(one)).toEqual({ verdict: 'accepted' });
    const { tls, ret } = decodeRelayBody((await jobOf(one))!.body);
    expect({ tls, ret }).toEqual(wanted);
  });
});

describe('relay requests', () => {
  const header = (from: string) => Buffer.from(`From: ${from}\r\n\r\nx\r\n`);
  const rows: [why: string, one: () => RelayRequest, rule: string][] = [
    [
      'nobody sends with another’s envelope',
      () => request(['a@dest.example'], { from: 'bob@example.org' }),
      'sender-not-yours',
    ],
    [
      'nobody writes as another',
      () => request(['a@dest.example'], { bytes: header('bob@example.org') }),
      'author-not-yours',
    ],
    [
      'two authors are none',
      () => request(['a@dest.example'], { bytes: header('alice@example.org, bob@example.org') }),
      'one-author',
    ],
    [
      'a bare LF would break the signature',
      () => request(['a@dest.example'], { bytes: Buffer.from('From: alice@example.org\n\nx\n') }),
      'bare-newline',
    ],
    [
      'a bare CR too',
      () => request(['a@dest.example'], { bytes: Buffer.from('From: alice@example.org\r\n\r\nx\ry\r\n') }),
      'bare-newline',
    ],
    [
      'a line beyond SMTP’s limit',
      () => request(['a@dest.example'], { bytes: Buffer.concat([message, Buffer.alloc(1_001, 'x')]) }),
      'line-too-long',
    ],
    [
      'more than a message may be',
      () => request(['a@dest.example'], { bytes: Buffer.alloc(1_000_001) }),
      'message-too-large',
    ],
    ['mail within the ring never goes by SMTP', () => request(['bob@example.org']), 'not-for-relay'],
    [
      'what is no address',
      () => request(['a@dest.example', 'x\r\nRCPT TO:<y@dest.example>@dest.example']),
      'bad-recipient',
    ],
    ['no recipient', () => request([]), 'recipient-count'],
    [
      'a trace id with another author in it',
      () => ({ ...request(['a@dest.example']), trace: 't\r\nFrom: bob@example.org\r\nX: y' }),
      'malformed-trace',
    ],
    [
      'a message that went round in circles',
      () => request(['a@dest.example'], { bytes: Buffer.concat([Buffer.from('Received: x\r\n'.repeat(51)), message]) }),
      'mail-loop',
    ],
  ];
  test.each(rows)('%s is refused, the same each time', async (_, make, rule) => {
    const one = make();
    expect(await ask(one)).toEqual({ verdict: 'refused', rule });
    expect(await ask(one)).toEqual({ verdict: 'refused', rule });
    expect(await queue.counts()).toMatchObject({ due: 0, running: 0, done: 0 });
  });

  test('a tag belongs to its owner', async () => {
    const bytes = header('Alice <alice+lists@example.org>');
    const one = request(['a@dest.example'], { bytes, from: 'alice+lists@example.org' });
    expect(await ask(one)).toEqual({ verdict: 'accepted' });
    await until('it is delivered', () => sink.received.length === 1);
  });

  test('an alias belongs to whom it leads to, and to nobody else; trouble to find out is asked again later', async () => {
    const bytes = header('Office <office@example.org>');
    const one = (): RelayRequest => request(['a@dest.example'], { bytes, from: 'office@example.org' });
    aliasOf = () => 'bob@example.org' as Address;
    expect(await ask(one())).toEqual({ verdict: 'refused', rule: 'sender-not-yours' });
    aliasOf = () => {
      throw new Error('silence');
    };
    expect(await ask(one())).toEqual({ later: 'silence' });
    aliasOf = (address) => (address === 'office@example.org' ? ('alice@example.org' as Address) : undefined);
    expect(await ask(one())).toEqual({ verdict: 'accepted' });
    await until('it is delivered', () => sink.received.length === 1);
  });

  test('the policy sees who sends what to whom, and its word counts', async () => {
    decision = { verdict: 'reject', rule: 'no-more' };
    expect(await ask(request(['a@dest.example']))).toEqual({ verdict: 'refused', rule: 'no-more' });
    decision = { verdict: 'defer', rule: 'slow' };
    const one = request(['a@dest.example']);
    expect(await ask(one)).toHaveProperty('later');
    decision = { verdict: 'hold', rule: 'look' };
    expect(await ask(one)).toEqual({ verdict: 'accepted' });
    expect(await jobOf(one)).toMatchObject({ state: 'held', holdReason: 'policy rule look' });
    expect(decidedOn.at(-1)).toMatchObject({
      stage: 'relay',
      identity: { verified: true, address: 'alice@example.org', kind: 'user', certificateAgeDays: 1 },
      envelope: { from: 'alice@example.org', recipients: ['a@dest.example'], recipientCount: 1 },
      author: { kind: 'single', address: 'alice@example.org' },
    });
    expect(await queue.release(`relay ${one.id} dest.example`)).toBe(true);
    await until('it is delivered', () => sink.received.length === 1);
  });

  test('a message the ring cannot give now is asked for again later', async () => {
    const one = { ...request(['a@dest.example']), bytes: () => Promise.reject(new Error('no quorum')) };
    expect(await ask(one)).toEqual({ later: 'no quorum' });
  });
});
