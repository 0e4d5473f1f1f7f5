import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect as tlsConnect } from 'node:tls';
import { generate } from 'selfsigned';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { checkProvenance } from '../../../gateway/provenance.ts';
import { standardPolicy } from '../../../policy/standard.ts';
import {
  acceptAll,
  paths,
  plainMessage,
  policyOf,
  RawClient,
  startUnderTest,
  type UnderTest,
} from './listener-under-test.ts';

let gateway: UnderTest;
let stops: UnderTest[] = [];
const clients: RawClient[] = [];

async function connect(port = gateway.port): Promise<RawClient> {
  const client = await RawClient.connect(port);
  clients.push(client);
  return client;
}

async function another(options: Parameters<typeof startUnderTest>[0]): Promise<UnderTest> {
  const other = await startUnderTest(options);
  stops.push(other);
  return other;
}

const textOf = (message: unknown): string => Buffer.from(message as Uint8Array).toString('latin1');

beforeAll(async () => {
  gateway = await startUnderTest({
    zone: {
      'sender.example': { TXT: ['v=spf1 ip4:127.0.0.1 -all'] },
      '1.0.0.127.in-addr.arpa': { PTR: ['localhost'] },
    },
  });
});
afterEach(async () => {
  // TLS before the socket below it.
  for (const client of clients.splice(0).reverse()) client.close();
  await Promise.all(stops.map((other) => other.stop()));
  stops = [];
});
afterAll(() => gateway.stop());

describe('a message that is taken', () => {
  it('is in the queue when 250 is said, and 250 names its trace', async () => {
    const client = await connect();
    await client.envelope('friend@sender.example', 'alice+x@example.org', 'postmaster@example.org', 'bob@example.org');
    const reply = await client.data(plainMessage);
    const trace = /^250 2\.0\.0 Ok: queued as (t\d+)$/.exec(reply)?.[1];
    const job = (await gateway.jobs()).find((one) => one.trace === trace);
    expect(job).toMatchObject({
      envelopeFrom: 'friend@sender.example',
      recipients: ['alice@example.org', 'bob@example.org'],
      folder: 'inbox',
      senderProven: true,
    });
    const what = gateway.events.filter((event) => event.trace === trace).map((event) => event.what);
    expect(what).toEqual(['connect', 'mail', 'rcpt', 'rcpt', 'rcpt', 'data', 'evidence', 'decision', 'queued']);
  });

  it('carries our fields on top, and below them the octets that came', async () => {
    const body = `${plainMessage}\r\n..two dots\r\n\xe9 8-bit ${'x'.repeat(5_000)}\r\n`;
    const client = await connect();
    await client.envelope();
    const trace = (await client.data(body.replace(/^\./gm, '..'))).split(' ').at(-1);
    const text = textOf((await gateway.jobs()).find((job) => job.trace === trace)?.message);
    expect(text.endsWith(body)).toBe(true);
    const own = text.slice(0, -body.length).split('\r\n');
    expect(own[0]).toBe('Return-Path: <friend@sender.example>');
    expect(own[1]).toBe('Received: from client.example ([127.0.0.1])');
    expect(own[2]).toBe(`\tby mx.example.org (ePOST) with ESMTP id ${trace}`);
    expect(own[3]).toBe('\tfor <alice@example.org>;');
    expect(own[4]).toMatch(/^\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000$/);
    expect(own.slice(5).join('\n')).toBe(
      [
        'Authentication-Results: mx.example.org;',
        '\tspf=pass smtp.mailfrom=sender.example;',
        '\tdkim=none;',
        '\tdmarc=none header.from=sender.example (p=none);',
        '\tiprev=fail policy.iprev=127.0.0.1',
        `X-ePOST-Trace: ${trace}`,
        '',
      ].join('\n'),
    );
  });

  it('loses what claims to be ours, and keeps what other hosts said', async () => {
    const kept = 'Authentication-Results: other.example; spf=pass\r\nX-Other: 1\r\n';
    const forged = [
      'Authentication-Results: mx.example.org; dmarc=pass\r\n',
      'authentication-results : (x) MX.Example.Org 1 (y);\r\n\tdmarc=pass\r\n',
      'X-ePOST-Trace: mine\r\nX-EPOST-Anything: yes\r\n',
    ];
    const client = await connect();
    await client.envelope();
    const trace = (await client.data(forged.join('') + kept + plainMessage)).split(' ').at(-1);
    const text = textOf((await gateway.jobs()).find((job) => job.trace === trace)?.message);
    expect(text.endsWith(kept + plainMessage)).toBe(true);
    expect(text.match(/mx\.example\.org/gi)).toHaveLength(2);
    expect(text.match(/x-epost-/gi)).toHaveLength(1);
  });

  it('has a signed record of what was seen', async () => {
    const client = await connect();
    await client.envelope();
    const trace = (await client.data(plainMessage)).split(' ').at(-1);
    const job = (await gateway.jobs()).find((one) => one.trace === trace);
    const signer = gateway.parts.signer.public;
    const checked = checkProvenance(job?.provenance ?? new Uint8Array(), signer);
    expect(checked).toMatchObject({
      kind: 'genuine',
      provenance: {
        trace,
        client: { ip: '127.0.0.1', helo: 'client.example' },
        spf: { result: 'pass' },
        tls: { used: false },
      },
    });
    const forged = Uint8Array.from(job?.provenance ?? []);
    forged[20] = (forged[20] ?? 0) ^ 1;
    expect(checkProvenance(forged, signer).kind).toBe('invalid');
    expect(checkProvenance(job?.provenance ?? new Uint8Array(), new Uint8Array(32)).kind).toBe('invalid');
  });
});

describe('what is not taken, each for its own reason', () => {
  const rows: readonly [why: string, message: string, reply: RegExp][] = [
    ['a bare LF', plainMessage.replace('hello', 'hel\nlo'), /^554 5\.6\.0 /],
    ['a bare CR', plainMessage.replace('hello', 'hel\rlo'), /^554 5\.6\.0 /],
    ['NUL', plainMessage.replace('hello', 'hel\0lo'), /^554 5\.6\.0 /],
    ['more than a hundred hops', 'Received: from a by b; x\r\n'.repeat(101) + plainMessage, /^554 5\.4\.6 /],
    ['a header of more than 1000 fields', 'X: 1\r\n'.repeat(1001) + plainMessage, /^554 5\.6\.0 /],
    ['a header of more than 4000 lines', `X: 1\r\n${' x\r\n'.repeat(4_000)}${plainMessage}`, /^554 5\.6\.0 /],
    ['a line of more than half a megabyte', `${plainMessage}${' '.repeat(530_000)}\r\n`, /^554 5\.6\.0 /],
    ['a header of more than 256 KiB', `X: ${'y'.repeat(300_000)}\r\n${plainMessage}`, /^554 5\.6\.0 /],
  ];
  it.each(rows)('%s', async (_why, message, expected) => {
    const client = await connect();
    await client.envelope();
    const before = (await gateway.jobs()).length;
    expect(await client.data(message)).toMatch(expected);
    expect(await gateway.jobs()).toHaveLength(before);
    expect(await client.say('NOOP')).toMatch(/^250 /);
  });

  it('ninety-nine hops are a long way, but no circle', async () => {
    const client = await connect();
    await client.envelope();
    expect(await client.data('Received: from a by b; x\r\n'.repeat(99) + plainMessage)).toMatch(/^250 /);
  });

  it('a message over the limit is read to its end and not kept', async () => {
    const small = await another({ limits: { messageBytes: 10_000 } });
    const client = await connect(small.port);
    await client.envelope();
    expect(await client.data(`${plainMessage}${'z'.repeat(78)}\r\n`.repeat(2000))).toMatch(/^552 5\.3\.4 /);
    await client.envelope();
    expect(await client.data(plainMessage)).toMatch(/^250 /);
    expect(await small.jobs()).toHaveLength(1);
  });

  it('long lines are refused only where that is asked for', async () => {
    const strict = await another({ limits: { refuseLongLines: true } });
    const client = await connect(strict.port);
    await client.envelope();
    expect(await client.data(`${plainMessage}${'z'.repeat(998)}\r\n`)).toMatch(/^250 /);
    await client.envelope();
    expect(await client.data(`${plainMessage}${'z'.repeat(999)}\r\n`)).toMatch(/^554 5\.6\.0 /);
  });

  it('octets above 127 in a header without SMTPUTF8 are carried as they came, unless policy minds', async () => {
    const eightBit = Buffer.from(plainMessage.replace('hi', 'gr\xfc\xdfe'), 'latin1');
    const rule = 'rules:\n  - {id: ascii, when: message.eightBitHeader, do: reject, reply: the header is not ASCII}\n';
    const minding = await another({ policy: policyOf(`version: 1\n${rule}default: accept\n`) });
    const client = await connect(minding.port);
    await client.envelope();
    expect(await client.data(eightBit)).toMatch(/^550 5\.7\.1 the header is not ASCII/);
    await client.envelope();
    expect(await client.data(plainMessage)).toMatch(/^250 /);
    // Only the body is not ASCII.
    await client.envelope();
    expect(await client.data(Buffer.from(`${plainMessage}\xfc\r\n`, 'latin1'))).toMatch(/^250 /);
    expect(await client.say('MAIL FROM:<friend@sender.example> SMTPUTF8')).toMatch(/^250 /);
    await client.say('RCPT TO:<alice@example.org>');
    expect(await client.data(eightBit)).toMatch(/^250 /);
    const easy = await another({});
    const other = await connect(easy.port);
    await other.envelope();
    expect(await other.data(eightBit)).toMatch(/^250 /);
    const [job] = await easy.jobs();
    expect(Buffer.from(job?.message as Uint8Array).includes(eightBit)).toBe(true);
  });

  it('too much mail in memory is no reason to lose any', async () => {
    const small = await another({ limits: { messagesInMemoryBytes: 50 } });
    const client = await connect(small.port);
    await client.envelope();
    expect(await client.data(plainMessage)).toMatch(/^451 4\.3\.1 /);
  });

  it('a client that goes away in the middle leaves nothing', async () => {
    const alone = await another({});
    const client = await connect(alone.port);
    await client.envelope();
    await client.say('DATA');
    client.write(plainMessage);
    client.close();
    await expect.poll(() => alone.listener.sessions()).toBe(0);
    expect(await alone.jobs()).toEqual([]);
  });
});

describe('SMTP smuggling: only CRLF.CRLF ends a message', () => {
  const smuggled =
    'MAIL FROM:<x@sender.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n';
  const rows: readonly (readonly [shown: string, sequence: string])[] = [
    '\n.\r\n',
    '\r.\r',
    '\r.\r\n',
    '\r\n.\n',
    '\r\n\0.\r\n',
    '\r\0\n.\r\n',
    '\n.\r',
    '\r.\n',
    '\r\n.\r\r\n',
    '\r\r\n.\r\r\n',
    '\n\n.\r\n',
    '\r\n. \r\n',
    '\r\n.\xc2\x85',
    '\xe2\x80\xa8.\xe2\x80\xa8',
    '\n.\n',
  ].map((sequence) => [JSON.stringify(sequence), sequence] as const);

  it.each(rows)('%s', async (_shown, sequence) => {
    const alone = await another({});
    const client = await connect(alone.port);
    await client.envelope();
    await client.say('DATA');
    client.write(`Subject: outer\r\n\r\nfirst line${sequence}${smuggled}`);
    expect(await client.reply()).toMatch(/^(?:250|554) /);
    // The next reply belongs to the next command: nothing inside the message was one.
    expect(await client.say('NOOP')).toMatch(/^250 2\.0\.0 OK$/);
    const jobs = await alone.jobs();
    expect(jobs.length).toBeLessThanOrEqual(1);
    expect(jobs.flatMap((job) => job.recipients)).not.toContain('bob@example.org');
  });

  it('the true end is found wherever the octets are cut', async () => {
    const alone = await another({});
    const client = await connect(alone.port);
    await client.envelope();
    await client.say('DATA');
    for (const octet of `${plainMessage}.\r\n`) {
      client.write(octet);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.reply()).toMatch(/^250 /);
  });

  it('two transactions in one packet are two messages', async () => {
    const alone = await another({});
    const client = await connect(alone.port);
    await client.say('EHLO client.example');
    client.write('MAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n');
    for (const code of [/^250/, /^250/, /^354/]) expect(await client.reply()).toMatch(code);
    client.write(`${plainMessage}.\r\nMAIL FROM:<b@sender.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n`);
    for (const code of [/^250 2\.0\.0 Ok/, /^250/, /^250/, /^354/]) expect(await client.reply()).toMatch(code);
    client.write(`${plainMessage}.\r\nQUIT\r\n`);
    for (const code of [/^250 2\.0\.0 Ok/, /^221/]) expect(await client.reply()).toMatch(code);
    expect((await alone.jobs()).map((job) => job.envelopeFrom).sort()).toEqual([
      'a@sender.example',
      'b@sender.example',
    ]);
  });
});

describe('the policy decides', () => {
  const rows: readonly [verdict: string, rule: string, reply: RegExp, jobs: number, folder: string][] = [
    ['accept', 'do: accept', /^250 /, 1, 'inbox'],
    ['junk', 'do: junk', /^250 /, 1, 'junk'],
    ['quarantine', 'do: quarantine', /^250 /, 1, 'inbox'],
    ['hold', 'do: hold', /^250 /, 1, 'inbox'],
    ['reject', 'do: reject, reply: not from you', /^550 5\.7\.1 not from you \(t1\)$/, 0, ''],
    ['defer', 'do: defer', /^451 4\.7\.1 .*\(t1\)$/, 0, ''],
  ];
  it.each(rows)('%s', async (verdict, rule, reply, jobs, folder) => {
    const policy = policyOf(`version: 1\nrules:\n  - {id: r, when: "true", ${rule}}\ndefault: accept\n`);
    const alone = await another({ policy });
    const client = await connect(alone.port);
    await client.envelope();
    expect(await client.data(plainMessage)).toMatch(reply);
    expect((await alone.jobs()).map((job) => job.folder)).toEqual(jobs === 0 ? [] : [folder]);
    const held = await alone.queue.list({ state: 'held', limit: 10 });
    expect(held).toHaveLength(verdict === 'hold' || verdict === 'quarantine' ? 1 : 0);
    expect(alone.events.find((event) => event.what === 'decision')).toMatchObject({ trace: 't1', verdict, rule: 'r' });
  });

  it.each(['connect', 'mail', 'rcpt'] as const)('at %s', async (stage) => {
    const policy = policyOf(
      `version: 1\nrules:\n  - {id: r, stages: ${stage}, when: client.ip == "127.0.0.1", do: reject}\ndefault: accept\n`,
    );
    const alone = await another({ policy });
    const client = new RawClient((await import('node:net')).createConnection(alone.port, '127.0.0.1'));
    clients.push(client);
    const said = [await client.reply()];
    for (const command of ['EHLO c.example', 'MAIL FROM:<a@sender.example>', 'RCPT TO:<alice@example.org>']) {
      if (said.at(-1) !== 'closed') said.push(await client.say(command));
    }
    const nth = { connect: 0, mail: 2, rcpt: 3 }[stage];
    expect(said[nth]).toMatch(stage === 'connect' ? /^554 5\.7\.1 .*\(t1\)$/ : /^550 5\.7\.1 .*\(t1\)$/);
  });

  it('a name server that is silent is no verdict: the client may come again', async () => {
    const policy = policyOf(
      'version: 1\nrules:\n  - {id: r, when: spf.result == "fail", do: reject}\ndefault: accept\n',
    );
    const alone = await another({ policy, zone: { 'sender.example': 'silent' }, limits: { evidenceMs: 300 } });
    const client = await connect(alone.port);
    await client.envelope();
    expect(await client.data(plainMessage)).toMatch(/^451 4\.4\.3 /);
  });

  it('what cannot be decided in time is not taken later either', async () => {
    const alone = await another({ zone: { 'sender.example': 'silent' }, limits: { decisionMs: 20, evidenceMs: 300 } });
    const client = await connect(alone.port);
    await client.envelope();
    expect(await client.data(plainMessage)).toMatch(/^451 4\.3\.0 /);
    await expect.poll(() => alone.events.some((event) => event.what === 'decision')).toBe(true);
    expect(await alone.jobs()).toEqual([]);
  });
});

describe('a message that comes again', () => {
  it('after its 250 was read is new mail', async () => {
    const alone = await another({});
    const client = await connect(alone.port);
    for (let i = 0; i < 3; i += 1) {
      await client.envelope();
      expect(await client.data(plainMessage)).toMatch(/^250 /);
    }
    expect(await alone.jobs()).toHaveLength(3);
  });

  it('is new mail too where the client said QUIT in the packet of its final dot', async () => {
    const alone = await another({});
    for (let i = 0; i < 2; i += 1) {
      const client = await connect(alone.port);
      await client.envelope();
      await client.say('DATA');
      client.write(`${plainMessage}.\r\nQUIT\r\n`);
      expect([await client.reply(), await client.reply(), await client.reply()]).toEqual([
        expect.stringMatching(/^250 /),
        expect.stringMatching(/^221 /),
        'closed',
      ]);
      await expect.poll(() => alone.listener.sessions()).toBe(0);
    }
    expect(await alone.jobs()).toHaveLength(2);
  });

  it('after its 250 was lost is the same mail, and has the same trace', async () => {
    const alone = await another({});
    // The gateway dies between its write and the reply: what is left is the durable part, job and mark.
    const lost = await connect(alone.port);
    await lost.envelope();
    const first = (await lost.data(plainMessage)).split(' ').at(-1);
    const { retransmissionKey, Retransmissions } = await import('../../../gateway/inbound/retransmission.ts');
    const digest = createHash('sha256').update(plainMessage).digest();
    const key = retransmissionKey('friend@sender.example', ['alice@example.org'], digest, plainMessage.length);
    await expect.poll(async () => await new Retransmissions(alone.queue, Date.now).earlier(key)).toBeUndefined();
    const { value, expiresAt } = new Retransmissions(alone.queue, Date.now).mark(key, first ?? '');
    await alone.queue.setMark(key, value, expiresAt);

    const client = await connect(alone.port);
    await client.envelope();
    expect(await client.data(plainMessage)).toBe(`250 2.0.0 Ok: queued as ${first}`);
    expect(await alone.jobs()).toHaveLength(1);
    await client.envelope('friend@sender.example', 'bob@example.org');
    expect(await client.data(plainMessage)).not.toContain(`queued as ${first}`);
    expect(await alone.jobs()).toHaveLength(2);
  });

  it('is added under its first trace where a crash came between its mark and its job', async () => {
    const alone = await another({});
    const { retransmissionKey, Retransmissions } = await import('../../../gateway/inbound/retransmission.ts');
    const digest = createHash('sha256').update(plainMessage).digest();
    const key = retransmissionKey('friend@sender.example', ['alice@example.org'], digest, plainMessage.length);
    const { value, expiresAt } = new Retransmissions(alone.queue, Date.now).mark(key, '1M83BDEM3T02BVDS');
    await alone.queue.setMark(key, value, expiresAt);
    const client = await connect(alone.port);
    await client.envelope();
    expect(await client.data(plainMessage)).toBe('250 2.0.0 Ok: queued as 1M83BDEM3T02BVDS');
    expect(await alone.queue.get('in:1M83BDEM3T02BVDS')).toMatchObject({ about: { trace: '1M83BDEM3T02BVDS' } });
  });

  it('while the first is still being decided waits for that', async () => {
    const { Retransmissions } = await import('../../../gateway/inbound/retransmission.ts');
    const turns = new Retransmissions(gateway.queue, Date.now);
    const order: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = turns.alone('k', async () => {
      await gate.promise;
      order.push('first');
    });
    const second = turns.alone('k', async () => order.push('second'));
    const other = turns.alone('l', async () => order.push('other'));
    await other;
    gate.resolve();
    await Promise.all([first, second]);
    expect(order).toEqual(['other', 'first', 'second']);
  });
});

describe('STARTTLS', () => {
  it('is used, is seen in the trace fields, forgets what came before, and may be required from here on', async () => {
    const pem = await generate([{ name: 'commonName', value: 'mx.example.org' }]);
    const alone = await another({ tls: { key: pem.private, cert: pem.cert }, policy: acceptAll });
    const client = await connect(alone.port);
    expect(await client.say('EHLO client.example')).toContain('STARTTLS');
    // Commands in the same packet, in clear, must not run inside (CVE-2011-0411).
    client.write('STARTTLS\r\nMAIL FROM:<injected@sender.example>\r\n');
    expect(await client.reply()).toMatch(/^220 /);
    client.socket.removeAllListeners('data');
    const socket = tlsConnect({ socket: client.socket, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const secure = new RawClient(socket);
    clients.push(secure);
    expect(await secure.say('MAIL FROM:<a@sender.example>')).toMatch(/^503 /);
    await secure.envelope();
    const trace = (await secure.data(plainMessage)).split(' ').at(-1);
    const text = textOf((await alone.jobs()).find((job) => job.trace === trace)?.message);
    expect(text).toContain(`with ESMTPS id ${trace}\r\n\t(TLSv1.3 TLS_`);
    // RFC 8689 §5: of a message that requires TLS only the header comes back, and its reports require it.
    expect(await secure.say('MAIL FROM:<a@sender.example> RET=FULL REQUIRETLS')).toMatch(/^250 /);
    expect(await secure.say('RCPT TO:<alice@example.org>')).toMatch(/^250 /);
    const required = (await secure.data(plainMessage)).split(' ').at(-1);
    const jobs = await alone.jobs();
    expect(jobs).toHaveLength(2);
    const wishes = { ret: 'HDRS', requireTls: true, recipients: {} };
    expect(jobs.find((job) => job.trace === required)?.dsn).toEqual(wishes);
  });
});

describe('what a sender asks to be told (RFC 3461)', () => {
  async function wishes(mail: string, rcpt: readonly string[]): Promise<unknown> {
    const client = await connect();
    await client.say('EHLO client.example');
    expect(await client.say(`MAIL FROM:<a@sender.example>${mail}`)).toMatch(/^250 /);
    for (const one of rcpt) expect(await client.say(`RCPT TO:${one}`)).toMatch(/^250 /);
    const trace = (await client.data(plainMessage)).split(' ').at(-1);
    return (await gateway.jobs()).find((one) => one.trace === trace)?.dsn;
  }

  it('goes with the message', async () => {
    expect(
      await wishes(' RET=FULL ENVID=a+2Bb', [
        '<alice+x@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old@x.example',
        '<bob@example.org>',
      ]),
    ).toEqual({
      ret: 'FULL',
      envid: 'a+b',
      recipients: { 'alice@example.org': { notify: ['SUCCESS', 'FAILURE'], orcpt: 'rfc822;old@x.example' } },
    });
  });

  it('and where he asks for nothing, nothing does', async () => {
    expect(await wishes('', ['<alice@example.org>'])).toBeUndefined();
  });
});

describe('a failure report', () => {
  const report = [
    'From: mailer-daemon@far.example',
    'Content-Type: message/delivery-status',
    '',
    'Final-Recipient: rfc822; carol@far.example',
    'Action: failed',
    'Status: 5.1.1',
    '',
  ].join('\r\n');
  const signed = paths.sign('alice@example.org', Date.now());

  it.for([
    ['that comes back to a return path of ours is a bounce', '', [signed], report, 'pass', ['alice@example.org']],
    ['to an address that anybody knows is none', '', ['alice@example.org'], report, 'fail', []],
    ['to one of each is judged by the worse', '', [signed, 'bob@example.org'], report, 'fail', ['alice@example.org']],
    ['with a sender is a letter', 'friend@sender.example', [signed], report, 'none', []],
    ['is not every message with the null sender', '', ['alice@example.org'], plainMessage, 'none', []],
  ] as const)('%s', async ([, from, to, message, result, returned]) => {
    const client = await connect();
    await client.envelope(from, ...to);
    const trace = /queued as (t\d+)$/.exec(await client.data(message))?.[1];
    const job = (await gateway.jobs()).find((one) => one.trace === trace);
    expect(job?.returned).toEqual(returned);
    expect(job?.reporter?.ip).toBe(returned.length === 0 ? undefined : '127.0.0.1');
    const seen = gateway.events.find((event) => event.trace === trace && event.what === 'evidence');
    expect(seen?.['bounce']).toBe(result);
  });

  it('that nothing of ours led to is refused by the standard policy', async () => {
    const other = await another({ policy: policyOf(standardPolicy) });
    const client = await connect(other.port);
    await client.envelope('', 'alice@example.org');
    expect(await client.data(report)).toMatch(/^550 5\.7\.1 .*return address/);
  });
});
