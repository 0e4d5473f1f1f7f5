import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import packet, { type DecodedPacket } from 'dns-packet';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { readAnswer } from '../../../gateway/dns/read-answer.ts';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import { exchange, serverOf } from '../../../gateway/dns/stub-query.ts';
import { type DnsServer, startDnsServer } from '../dns-server.ts';

const open: (Socket | DnsServer)[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

type Send = (bytes: Uint8Array) => void;

/** A name server that does with a question whatever a test wants. */
async function oddServer(answer: (query: DecodedPacket, send: Send) => void): Promise<string> {
  const socket = createSocket('udp4');
  open.push(socket);
  socket.on('message', (bytes, from: RemoteInfo) =>
    answer(packet.decode(bytes), (reply) => socket.send(reply, from.port, from.address)),
  );
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return `127.0.0.1:${socket.address().port}`;
}

async function zoneServer(zone: Parameters<typeof startDnsServer>[0]): Promise<DnsServer> {
  const server = await startDnsServer(zone);
  open.push(server);
  return server;
}

const goodAnswer = (query: DecodedPacket, data = '192.0.2.1', ttl = 60): Uint8Array =>
  packet.encode({
    type: 'response',
    id: query.id ?? 0,
    flags: 0x0180,
    questions: query.questions ?? [],
    answers: (query.questions ?? []).map(({ name }) => ({ name, type: 'A' as const, ttl, data })),
  });

describe('only the answer to the question counts', () => {
  const forgeries: readonly [why: string, forge: (query: DecodedPacket) => Uint8Array][] = [
    [
      'one under another id is left aside',
      (query) => goodAnswer({ ...query, id: ((query.id ?? 0) + 1) % 65_536 }, '192.0.2.66'),
    ],
    [
      'one to another question is left aside',
      (query) => goodAnswer({ ...query, questions: [{ name: 'other.example', type: 'A', class: 'IN' }] }, '192.0.2.66'),
    ],
    [
      'a question is no answer',
      (query) => packet.encode({ type: 'query', id: query.id ?? 0, questions: query.questions ?? [] }),
    ],
    ['noise is left aside', () => Buffer.from('\xff\xff\xff\xff', 'latin1')],
    ['half a packet is left aside', (query) => Buffer.from(goodAnswer(query, '192.0.2.66')).subarray(0, 30)],
  ];
  it.each(forgeries)('%s', async (_why, forge) => {
    const address = await oddServer((query, send) => {
      send(forge(query));
      send(goodAnswer(query));
    });
    const resolver = createResolver({ servers: [address], timeoutMs: 10_000, now: Date.now });
    expect(await resolver.resolve('host.example', 'A')).toMatchObject({ records: ['192.0.2.1'] });
  });

  it('of a chain of aliases only what hangs together is taken', async () => {
    const address = await oddServer((query, send) =>
      send(
        packet.encode({
          type: 'response',
          id: query.id ?? 0,
          flags: 0x0180,
          questions: query.questions ?? [],
          answers: [
            { name: 'unasked.example', type: 'A', ttl: 60, data: '192.0.2.66' },
            { name: 'host.example', type: 'CNAME', ttl: 7, data: 'Target.example' },
            { name: 'target.example', type: 'A', ttl: 60, data: '192.0.2.1' },
          ],
        }),
      ),
    );
    const resolver = createResolver({ servers: [address], timeoutMs: 10_000, now: () => 0 });
    expect(await resolver.resolve('host.example', 'A')).toMatchObject({ records: ['192.0.2.1'], ttlMs: 7_000 });
  });

  it('aliases that go round end', async () => {
    const zone = { 'a.example': { CNAME: ['b.example'] }, 'b.example': { CNAME: ['a.example'] } };
    const { address } = await zoneServer(zone);
    const resolver = createResolver({ servers: [address], timeoutMs: 10_000, now: Date.now });
    expect((await resolver.resolve('a.example', 'A')).kind).toBe('nodata');
  });
});

describe('several servers', () => {
  it('the second is asked where the first fails, refuses or is not there', async () => {
    const good = await zoneServer({ 'host.example': { A: ['192.0.2.1'] } });
    const failing = await zoneServer({ 'host.example': 'servfail' });
    const refusing = await zoneServer({ 'host.example': 'refused' });
    const silent = await zoneServer({ 'host.example': 'silent' });
    const gone = await startDnsServer();
    await gone.close();
    for (const first of [failing, refusing, silent, gone]) {
      const resolver = createResolver({ servers: [first.address, good.address], timeoutMs: 300, now: Date.now });
      await expect
        .poll(() => resolver.resolve('host.example', 'A'), { timeout: 20_000 })
        .toMatchObject({ records: ['192.0.2.1'] });
    }
  });

  it('addresses are read as node:dns writes them', () => {
    expect(serverOf('192.0.2.1')).toEqual({ host: '192.0.2.1', port: 53 });
    expect(serverOf('192.0.2.1:5353')).toEqual({ host: '192.0.2.1', port: 5353 });
    expect(serverOf('2001:db8::1')).toEqual({ host: '2001:db8::1', port: 53 });
    expect(serverOf('[2001:db8::1]:5353')).toEqual({ host: '2001:db8::1', port: 5353 });
  });
});

describe('how long an answer is good', () => {
  it('as long as its own TTL says, of whatever type', async () => {
    const server = await zoneServer({ 'mail.example': { TXT: [['v=spf1 -all']] } });
    let now = 0;
    const resolver = createResolver({ servers: [server.address], timeoutMs: 10_000, now: () => now });
    await resolver.resolve('mail.example', 'TXT');
    now = 59_000;
    await resolver.resolve('mail.example', 'TXT');
    expect(server.asked.length).toBe(1);
    now = 61_000;
    await resolver.resolve('mail.example', 'TXT');
    expect(server.asked.length).toBe(2);
  });

  it('that there is nothing is good as long as the zone says (RFC 2308 §5)', () => {
    const authorities = [{ name: 'example', type: 'SOA', ttl: 900, data: { minimum: 120 } }];
    const decoded = {
      type: 'response',
      flags: 0x8183,
      questions: [],
      answers: [],
      authorities,
    } as unknown as DecodedPacket;
    expect(readAnswer(decoded, 'no.example', 'A')).toMatchObject({ answer: { kind: 'nxdomain' }, ttlMs: 120_000 });
  });

  it('without any server an outlived route is better than none, and an outlived key is not', async () => {
    const server = await startDnsServer({
      'mail.example': { MX: [{ preference: 10, exchange: 'mx.mail.example' }], TXT: [['v=DKIM1; p=x']] },
    });
    let now = 0;
    const resolver = createResolver({ servers: [server.address], timeoutMs: 300, now: () => now });
    const both = () => Promise.all([resolver.resolve('mail.example', 'MX'), resolver.resolve('mail.example', 'TXT')]);
    await both();
    await server.close();
    now = 3_600_000;
    expect(await both()).toMatchObject([
      { kind: 'records', stale: true, records: [{ exchange: 'mx.mail.example' }] },
      { kind: 'unknown' },
    ]);
    now = 25 * 3_600_000;
    expect(await both()).toMatchObject([{ kind: 'unknown' }, { kind: 'unknown' }]);
  });
});

describe('what a server sends', () => {
  it('whatever it is, it is read without a crash', async () => {
    const answer = goodAnswer({
      id: 1,
      questions: [{ name: 'host.example', type: 'A', class: 'IN' }],
    } as DecodedPacket);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(answer.length - 1), fc.nat(255)), { maxLength: 12 }),
        async (changes) => {
          const bytes = Buffer.from(answer);
          for (const [at, byte] of changes) bytes[at] = byte;
          let decoded: DecodedPacket;
          try {
            decoded = packet.decode(bytes);
          } catch {
            return;
          }
          for (const type of ['A', 'AAAA', 'MX', 'TXT', 'PTR', 'CNAME', 'TLSA'] as const)
            expect(['records', 'nodata', 'nxdomain', 'unknown']).toContain(
              readAnswer(decoded, 'host.example', type).answer.kind,
            );
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('an answer that never ends by TCP is given up in time', async () => {
    const address = await oddServer((query, send) =>
      send(packet.encode({ type: 'response', id: query.id ?? 0, flags: 0x0380, questions: query.questions ?? [] })),
    );
    const outcome = await exchange(serverOf(address), 'host.example', 'A', AbortSignal.timeout(2_000));
    expect(outcome.kind).toBe('failed');
  });
});
