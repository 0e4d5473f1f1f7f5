import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RecordType, Resolver } from '../../../gateway/dns/answer.ts';
import { AnswerCache } from '../../../gateway/dns/answer-cache.ts';
import { messageLookups } from '../../../gateway/dns/message-lookups.ts';
import { queryName } from '../../../gateway/dns/query-name.ts';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import { type DnsServer, startDnsServer } from '../dns-server.ts';

let server: DnsServer;
let now = 1_000_000;
let resolver: Resolver;

beforeAll(async () => {
  server = await startDnsServer({
    'host.example': { A: ['192.0.2.1'], AAAA: ['2001:db8::1'] },
    'alias.example': { CNAME: ['host.example'] },
    'mail.example': { MX: [{ exchange: 'mx.mail.example', preference: 10 }], TXT: [['v=spf1 ', '-all'], 'other'] },
    'long.example': { TXT: [Array.from({ length: 8 }, () => 'x'.repeat(250))] },
    'broken.example': 'servfail',
    'closed.example': 'refused',
    'mute.example': 'silent',
    'below.empty.example': { A: ['192.0.2.2'] },
    '_25._tcp.host.example': {
      TLSA: [{ usage: 3, selector: 1, matchingType: 1, certificate: Buffer.from('abcd', 'hex') }],
    },
  });
  resolver = createResolver({ servers: [server.address], timeoutMs: 200, now: () => now });
});

afterAll(() => server.close());

describe('an answer is one of three things', () => {
  const rows: readonly [why: string, name: string, type: RecordType, expected: unknown][] = [
    ['records are records', 'host.example', 'A', { kind: 'records', records: ['192.0.2.1'] }],
    [
      'names are compared without case and final dot',
      'HOST.example.',
      'A',
      { kind: 'records', records: ['192.0.2.1'] },
    ],
    ['an alias is followed', 'alias.example', 'AAAA', { kind: 'records', records: ['2001:db8::1'] }],
    [
      'MX has exchange and priority',
      'mail.example',
      'MX',
      { records: [{ exchange: 'mx.mail.example', priority: 10 }] },
    ],
    ['TXT keeps its strings apart', 'mail.example', 'TXT', { records: [['v=spf1 ', '-all'], ['other']] }],
    ['an answer too long for UDP comes by TCP', 'long.example', 'TXT', { kind: 'records' }],
    [
      'a TLSA record has its four fields',
      '_25._tcp.host.example',
      'TLSA',
      { records: [{ certUsage: 3, selector: 1, match: 1, data: new Uint8Array([0xab, 0xcd]) }] },
    ],
    ['a name without such records is nodata', 'host.example', 'MX', { kind: 'nodata' }],
    ['a name with names below it exists', 'empty.example', 'A', { kind: 'nodata' }],
    ['a name that does not exist is nxdomain', 'nothing.example', 'A', { kind: 'nxdomain' }],
    ['a name that cannot exist is nxdomain, and not asked', 'a\0b.example', 'A', { kind: 'nxdomain' }],
    ['a failing server is no verdict', 'broken.example', 'A', { kind: 'unknown', reason: 'the name server failed' }],
    ['a refusing server is no verdict', 'closed.example', 'A', { kind: 'unknown' }],
    ['a silent server is no verdict', 'mute.example', 'TXT', { kind: 'unknown', reason: 'no answer in time' }],
  ];
  it.each(rows)('%s', async (_why, name, type, expected) => {
    expect(await resolver.resolve(name, type)).toMatchObject(expected as object);
  });

  it('a machine without any name server is no verdict, and says so at once', async () => {
    const gone = await startDnsServer();
    await gone.close();
    const alone = createResolver({ servers: [gone.address], timeoutMs: 5_000, now: () => now });
    expect(await alone.resolve('host.example', 'A')).toEqual({
      kind: 'unknown',
      reason: 'no name server can be reached',
    });
  });
});

describe('what is kept', () => {
  it('an answer is asked for once within its time, and again after it', async () => {
    const count = (): number => server.asked.filter((question) => question === 'A once.example').length;
    server.add({ 'once.example': { A: ['192.0.2.7'] } });
    await Promise.all([resolver.resolve('once.example', 'A'), resolver.resolve('once.example', 'A')]);
    await resolver.resolve('once.example', 'A');
    expect(count()).toBe(1);
    now += 61_000;
    await resolver.resolve('once.example', 'A');
    expect(count()).toBe(2);
  });

  it('what could not be found out is asked for again', async () => {
    server.add({ 'flaky.example': 'servfail' });
    expect((await resolver.resolve('flaky.example', 'A')).kind).toBe('unknown');
    server.add({ 'flaky.example': { A: ['192.0.2.8'] } });
    expect((await resolver.resolve('flaky.example', 'A')).kind).toBe('records');
  });

  it('the cache forgets what was used least when it is full', () => {
    const cache = new AnswerCache<number>(2);
    cache.set('a', 1, 1000, 0);
    cache.set('b', 2, 1000, 0);
    expect(cache.get('a', 1)?.value).toBe(1);
    cache.set('c', 3, 1000, 1);
    expect([cache.get('a', 2)?.value, cache.get('b', 2)?.value, cache.get('c', 2)?.value]).toEqual([1, undefined, 3]);
    expect(cache.size).toBe(2);
    expect(cache.get('a', 1000)).toBeUndefined();
  });
});

describe('names', () => {
  const rows: readonly [why: string, text: string, name: string | undefined][] = [
    ['a plain name in lower case', 'S1._DomainKey.Example.NET', 's1._domainkey.example.net'],
    ['a macro may bring odd but visible characters', "a+b=c'd.example", "a+b=c'd.example"],
    ['NUL would cut the name in a C library', 'legitimate.example\0.evil.example', undefined],
    ['a backslash would be an escape', 'a\\046b.example', undefined],
    ['a parenthesis is not in names', 'legitimate.example(.evil.example', undefined],
    ['an empty label is not a name', 'a..b', undefined],
    ['a label has 63 octets at most', `${'a'.repeat(64)}.example`, undefined],
    ['a name has 253 characters at most', `${'a.'.repeat(126)}ab`, undefined],
    ['only ASCII goes out', 'bücher.example', undefined],
    ['no name is no name', '.', undefined],
  ];
  it.each(rows)('%s', (_why, text, name) => {
    expect(queryName(text)).toBe(name);
  });
});

describe('the lookups of one message', () => {
  const never: Resolver = { resolve: () => Promise.withResolvers<never>().promise };

  it('mailauth gets the codes it knows', async () => {
    const { resolver: ask } = messageLookups(resolver, { maxLookups: 10, deadline: now + 5_000, now: () => now });
    expect(await ask('mail.example', 'TXT')).toEqual([['v=spf1 ', '-all'], ['other']]);
    await expect(ask('nothing.example', 'TXT')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(ask('host.example', 'MX')).rejects.toMatchObject({ code: 'ENODATA' });
    await expect(ask('broken.example', 'A')).rejects.toMatchObject({ code: 'ETIMEOUT' });
    await expect(ask('a\0.example', 'A')).rejects.toMatchObject({ code: 'EBADNAME' });
  });

  it('more lookups than the budget are no verdict', async () => {
    const { lookups, count } = messageLookups(resolver, { maxLookups: 1, deadline: now + 5_000, now: () => now });
    expect((await lookups.resolve('host.example', 'A')).kind).toBe('records');
    expect(await lookups.resolve('host.example', 'A')).toMatchObject({ kind: 'unknown' });
    expect(count()).toBe(2);
  });

  it('the deadline ends a lookup that is under way, and all later ones', async () => {
    let time = 0;
    const { lookups } = messageLookups(never, { maxLookups: 10, deadline: 20, now: () => time });
    expect(await lookups.resolve('host.example', 'A')).toMatchObject({ kind: 'unknown' });
    time = 20;
    expect(await lookups.resolve('host.example', 'A')).toMatchObject({ kind: 'unknown' });
  });
});
