import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Resolver } from '../../../gateway/dns/answer.ts';
import { createResolver } from '../../../gateway/dns/resolver.ts';
import { isPublicAddress } from '../../../gateway/relay/addresses.ts';
import { type RouteOptions, routeTo } from '../../../gateway/relay/route.ts';
import { namedRoute } from '../../../gateway/relay/static-routes.ts';
import { type DnsServer, startDnsServer, type Zone } from '../dns-server.ts';

const mx = (...records: [number, string][]) => ({
  MX: records.map(([preference, exchange]) => ({ preference, exchange })),
});
const a = (...addresses: string[]) => ({ A: addresses });

const zone: Zone = {
  'ordered.example': mx([20, 'second.example'], [10, 'first.example']),
  'first.example': { A: ['5.5.5.1'], AAAA: ['2600::1'] },
  'second.example': a('5.5.5.2'),
  'null.example': mx([0, '.']),
  'plain.example': a('5.5.5.3'),
  'empty.example': { TXT: ['nothing here'] },
  'broken.example': 'servfail',
  'brokenhost.example': mx([10, 'broken.example']),
  'halfbroken.example': mx([10, 'broken.example'], [20, 'second.example']),
  'nohost.example': mx([10, 'gone.example']),
  'private.example': mx([10, 'inside.example']),
  'mixed.example': mx([10, 'inside.example'], [20, 'second.example']),
  'inside.example': a('10.0.0.1'),
  'ours.example': mx([10, 'first.example'], [20, 'gw.example.org'], [30, 'second.example']),
  'loop.example': mx([10, 'gw.example.org'], [20, 'second.example']),
  'literal.example': mx([10, '192.0.2.1']),
  'alias.example': mx([10, 'first.example'], [20, 'alias-of-ours.example'], [30, 'second.example']),
  'aliasonly.example': mx([10, 'alias-of-ours.example'], [20, 'second.example']),
  'aliasafterbroken.example': mx([10, 'broken.example'], [20, 'alias-of-ours.example']),
  'atours.example': a('5.5.5.9'),
  'alias-of-ours.example': a('5.5.5.9'),
  'equal.example': mx([10, 'first.example'], [10, 'second.example']),
};

describe('the way to a domain', () => {
  let server: DnsServer;
  let resolver: Resolver;
  let options: RouteOptions;

  beforeAll(async () => {
    server = await startDnsServer(zone);
    resolver = createResolver({ servers: [server.address], timeoutMs: 1_000, now: Date.now });
    options = {
      resolver,
      random: Math.random,
      mxPort: 25,
      ownNames: ['gw.example.org'],
      ownAddresses: ['5.5.5.9'],
      allowPrivate: false,
      validating: false,
    };
  });

  afterAll(() => server.close());

  const rows: [why: string, domain: string, expected: string][] = [
    ['servers are tried by preference, IPv4 first', 'ordered.example', 'hosts 5.5.5.1 2600::1 5.5.5.2'],
    ['a null MX is a final no', 'null.example', 'never 5.1.10'],
    ['without MX the domain is the server', 'plain.example', 'hosts 5.5.5.3'],
    ['a domain without MX and address has no server', 'empty.example', 'never 5.4.4'],
    ['a domain that does not exist is a final no', 'missing.test', 'never 5.1.2'],
    ['a broken name server is no verdict', 'broken.example', 'later 4.4.3'],
    ['a broken name server of the only mail server is no verdict', 'brokenhost.example', 'later 4.4.3'],
    ['a server that can be found is used though another cannot', 'halfbroken.example', 'hosts 5.5.5.2'],
    ['a mail server that does not exist is a final no', 'nohost.example', 'never 5.4.4'],
    ['a name of ours that we do not know is known by its address', 'alias.example', 'hosts 5.5.5.1 2600::1'],
    ['and as the best one it would bring the mail back', 'aliasonly.example', 'never 5.4.6'],
    ['unless a better one could not be looked up', 'aliasafterbroken.example', 'later 4.4.3'],
    ['a domain without MX at our own address too', 'atours.example', 'never 5.4.6'],
    ['a mail server in a private network is refused', 'private.example', 'never 5.4.4'],
    ['a private one is passed over', 'mixed.example', 'hosts 5.5.5.2'],
    ['servers no better than ourselves are left out', 'ours.example', 'hosts 5.5.5.1 2600::1'],
    ['mail that would come back to us is a final no', 'loop.example', 'never 5.4.6'],
    ['an address is no name of a mail server', 'literal.example', 'never 5.4.4'],
    ['an address literal is the place itself', '[5.5.5.7]', 'hosts 5.5.5.7'],
    ['with IPv6, too', '[IPv6:2600::9]', 'hosts 2600::9'],
    ['but not in a private network', '[192.168.1.1]', 'never 5.4.4'],
    ['nor on this machine', '[IPv6:::1]', 'never 5.4.4'],
  ];
  test.each(rows)('%s', async (_, domain, expected) => {
    const route = await routeTo(domain, options);
    const said = route.kind === 'hosts' ? route.hops.map(({ address }) => address).join(' ') : route.status;
    expect(`${route.kind} ${said}`).toBe(expected);
  });

  test('an address literal of our own would bring the mail back; with a smarthost it goes there, unless it is private', async () => {
    expect(await routeTo('[5.5.5.9]', options)).toMatchObject({ kind: 'never', status: '5.4.6' });
    const named = namedRoute([], { host: '127.0.0.1', port: 2600 });
    expect(await routeTo('[5.5.5.7]', { ...options, named })).toMatchObject({ hops: [{ port: 2600 }] });
    expect(await routeTo('[10.0.0.1]', { ...options, named })).toMatchObject({ kind: 'never', status: '5.4.4' });
  });

  test('equal servers are tried in random order', async () => {
    const first = async (random: () => number) => {
      const route = await routeTo('equal.example', { ...options, random });
      return route.kind === 'hosts' ? route.hops[0]?.name : route.kind;
    };
    const chances = [0.9, 0.1];
    expect(await first(() => chances.shift() ?? 0)).toBe('second.example');
    const others = [0.1, 0.9];
    expect(await first(() => others.shift() ?? 0)).toBe('first.example');
  });

  test('a smarthost takes everything, and a missing one is our own mistake', async () => {
    const named = namedRoute([], { host: '127.0.0.1', port: 2600 });
    expect(await routeTo('null.example', { ...options, named })).toMatchObject({
      kind: 'hosts',
      hops: [{ address: '127.0.0.1', port: 2600 }],
    });
    const missing = namedRoute([], { host: 'gone.example', port: 25 });
    expect(await routeTo('plain.example', { ...options, named: missing })).toMatchObject({ kind: 'later' });
  });
});

describe('routes that the operator named', () => {
  const host = (name: string) => ({ host: name, port: 25 });
  const named = namedRoute(
    [
      { to: ['a.example', '*.b.example'], via: host('one') },
      { to: ['*.deep.b.example'], via: host('two') },
      { to: ['own.b.example'], via: 'mx' },
    ],
    host('smarthost'),
  );
  test.each([
    ['a domain by its name', 'a.example', 'one'],
    ['what is below it is not meant', 'x.a.example', 'smarthost'],
    ['what is below a star, at any depth', 'x.y.b.example', 'one'],
    ['but not the domain after the star', 'b.example', 'smarthost'],
    ['nor one that only ends alike', 'xb.example', 'smarthost'],
    ['the nearest star', 'x.deep.b.example', 'two'],
    ['a name before all stars, and the domain’s own servers in spite of a smarthost', 'own.b.example', undefined],
    ['a domain of one label', 'example', 'smarthost'],
  ])('%s', (_why, domain, expected) => {
    expect(named(domain)?.host).toBe(expected);
  });

  test('without a smarthost all others go to their own servers', () => {
    expect(namedRoute([{ to: ['a.example'], via: host('one') }], undefined)('b.example')).toBeUndefined();
  });
});

describe('public addresses', () => {
  test.each([
    ['8.8.8.8', true],
    ['2600::1', true],
    ['127.0.0.1', false],
    ['10.1.2.3', false],
    ['172.31.0.1', false],
    ['169.254.169.254', false],
    ['100.64.0.1', false],
    ['0.0.0.0', false],
    ['255.255.255.255', false],
    ['::1', false],
    ['::ffff:127.0.0.1', false],
    ['64:ff9b::7f00:1', false],
    ['fe80::1', false],
    ['fd00::1', false],
    ['2002:7f00:1::', false],
    ['no address', false],
  ])('%s: %s', (address, expected) => {
    expect(isPublicAddress(address)).toBe(expected);
  });
});
