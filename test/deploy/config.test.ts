import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../deploy/config/load.ts';
import { withOverrides } from '../../deploy/config/overrides.ts';
import { InputFault } from '../../deploy/config/problem.ts';
import { parseHostPort } from '../../deploy/config/schema.ts';
import { type Choices, configText, defaultPorts, maxPortBase } from '../../deploy/config/template.ts';
import type { RingDescriptor } from '../../node/identity/ring.ts';

const choices: Choices = {
  domain: 'example.org',
  hostname: 'mx.example.org',
  portBase: 0,
  dns: [],
  mxPort: 25,
  postmaster: 'alice@example.org',
  gateway: true,
};
const good = configText(choices);

function problemsOf(text: string): string[] {
  try {
    parseConfig(text, 'epost.yaml');
    return [];
  } catch (fault) {
    if (fault instanceof InputFault) return fault.message.split('\n');
    throw fault;
  }
}

describe('the configuration that init writes', () => {
  it('is one that a start accepts', () => {
    expect(problemsOf(good)).toEqual([]);
    expect(problemsOf(configText({ ...choices, gateway: false }))).toEqual([]);
  });

  it('keeps every choice, also one that YAML would read otherwise', () => {
    const config = parseConfig(
      configText({
        ...choices,
        portBase: 7,
        dns: ['[::1]:53'],
        smarthost: 'mail.example.net:587',
        mxPort: 2626,
        redisUrl: 'redis://127.0.0.1:1/0',
      }),
      'f',
    );
    expect(config.access.imap.port).toBe(defaultPorts.imap + 7);
    expect(config.gateway?.mx.port).toBe(defaultPorts.mx + 7);
    expect(config.gateway?.dns.servers).toEqual(['[::1]:53']);
    expect(config.gateway?.delivery.smarthost).toBe('mail.example.net:587');
    expect(config.gateway?.delivery.mxPort).toBe(2626);
    expect(config.gateway?.queue).toMatchObject({ kind: 'redis', url: 'redis://127.0.0.1:1/0' });
  });

  it('has every port below 65536 up to the largest base', () => {
    expect(problemsOf(configText({ ...choices, portBase: maxPortBase }))).toEqual([]);
    expect(problemsOf(configText({ ...choices, portBase: maxPortBase + 1 })).length).toBeGreaterThan(0);
  });

  it('reads durations as milliseconds', () => {
    expect(parseConfig(good, 'f').gateway?.delivery.retry).toEqual({
      first: 60_000,
      max: 14_400_000,
      giveUp: 432_000_000,
    });
  });
});

it('rates are a number and a time', () => {
  const rates = parseConfig(good.replace('perAddress: 100/h', 'perAddress: 2/m'), 'f').gateway?.automatic;
  expect(rates?.perAddress).toEqual({ amount: 2, perMs: 60_000, burst: 2 });
  for (const wrong of ['0/h', '100', '5/w', 'many/h'])
    expect(problemsOf(good.replace('total: 10000/h', `total: ${wrong}`)).join()).toContain('gateway.automatic.total');
});

describe('routes', () => {
  const withRoutes = (routes: string): string => good.replace('routes: []', `routes: ${routes}`);

  it('are read with their domains in canonical form', () => {
    const text = withRoutes(
      "[{to: [Example.NET, '*.BÜCHER.example'], via: 'mail.example.net:587', tls: verified}, {to: [x.example], via: mx}]",
    );
    expect(parseConfig(text, 'f').gateway?.delivery.routes).toEqual([
      { to: ['example.net', '*.xn--bcher-kva.example'], via: 'mail.example.net:587', tls: 'verified', login: null },
      { to: ['x.example'], via: 'mx', tls: 'opportunistic', login: null },
    ]);
  });

  it.each([
    [
      'a place that is none',
      '[{to: [a.example], via: nowhere}]',
      'routes.0.via: found "nowhere", expected HOST:PORT, or mx',
    ],
    [
      'a star in the middle',
      "[{to: ['a.*.example'], via: mx}]",
      'routes.0.to.0: found "a.*.example", expected a domain',
    ],
    ['a star alone', "[{to: ['*'], via: mx}]", 'routes.0.to.0: found "*", expected a domain'],
    [
      'a domain twice',
      '[{to: [a.example], via: mx}, {to: [A.example], via: mx}]',
      'routes.1.to.0: found "A.example", expected each domain in one place only',
    ],
    ['no domain', '[{to: [], via: mx}]', 'routes.0.to: found [], expected at least 1'],
    [
      'TLS that is none',
      "[{to: [a.example], via: 'h:25', tls: maybe}]",
      'routes.0.tls: found "maybe", expected "opportunistic" or "encrypted" or "verified"',
    ],
    ['TLS where the domain decides', '[{to: [a.example], via: mx, tls: encrypted}]', 'expected no tls beside via: mx'],
    [
      'a login where nobody is named',
      '[{to: [a.example], via: mx, login: {user: u, passwordFile: /p}}]',
      'expected no login beside via: mx',
    ],
    [
      'a certificate for an address',
      "[{to: [a.example], via: '192.0.2.1:25', tls: verified}]",
      'expected a host name in via',
    ],
    ['a key that is none', '[{to: [a.example], via: mx, user: u}]', 'found the unknown key "user"'],
  ])('refused: %s', (_why, routes, said) => {
    expect(problemsOf(withRoutes(routes)).join()).toContain(said);
  });
});

describe('a configuration with mistakes', () => {
  it('tells all of them at once, each with its line, what was found, what was expected and what to do', () => {
    const bad = good
      .replace('hostname: mx', 'hostnam: mx')
      .replace('port: 2525', 'prt: 2525')
      .replace('level: info', 'level: loud')
      .replace('127.0.0.0/8', '127.0.0.0/99')
      .replace('max: 4h', 'max: 4 hours');
    const at = (text: string): string => `epost.yaml:${bad.slice(0, bad.indexOf(text)).split('\n').length}`;
    expect(problemsOf(bad)).toEqual([
      'epost.yaml:1:1: hostname: found nothing, expected string; add it',
      `${at('mx: {host')}:3: gateway.mx.port: found nothing, expected number; add it`,
      `${at('mx: {host')}:25: gateway.mx.prt: found the unknown key "prt", expected one of host, port; did you mean port?`,
      expect.stringContaining(
        `${at('max: 4 hours')}:25: gateway.delivery.retry.max: found "4 hours", expected a number and a unit`,
      ),
      expect.stringContaining(
        `${at('127.0.0.0/99')}:12: gateway.exempt.0: found "127.0.0.0/99", expected an IP address or a network`,
      ),
      expect.stringContaining(
        `${at('level: loud')}:7: log.level: found "loud", expected "debug" or "info" or "warn" or "error"`,
      ),
      expect.stringContaining(`${at('hostnam:')}:1: hostnam: found the unknown key "hostnam"`),
    ]);
  });

  it('that are of syntax has the place of each', () => {
    expect(problemsOf('version: 1\nnode: [\n')).toEqual([
      expect.stringMatching(/^epost\.yaml:3:1: found .*expected YAML/),
    ]);
  });

  // Each file is refused; its neighbour .txt holds a part of what is said.
  const folder = new URL('refused/', import.meta.url);
  for (const name of readdirSync(folder).filter((one) => one.endsWith('.yaml'))) {
    it(`refused/${name} is refused with its sentence`, () => {
      const expected = readFileSync(new URL(name.replace('.yaml', '.txt'), folder), 'utf8').trim();
      expect(problemsOf(readFileSync(new URL(name, folder), 'utf8')).join('\n')).toContain(expected);
    });
  }

  it('never crashes the reader, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 300 }),
          fc.constant(good).map((text) => text),
          cutAndJoined(),
        ),
        (text) => {
          problemsOf(text);
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** The good text with a piece taken out and another put in. */
function cutAndJoined(): fc.Arbitrary<string> {
  return fc
    .tuple(fc.nat(good.length), fc.nat(40), fc.string({ maxLength: 20 }))
    .map(([at, length, put]) => good.slice(0, at) + put + good.slice(at + length));
}

describe('the options of a later start', () => {
  const ring = { name: 'example.org', domains: ['example.org'] } as unknown as RingDescriptor;
  const config = parseConfig(good, 'f');

  it('shift all ports', () => {
    const moved = withOverrides(config, { 'port-base': '1000' }, ring);
    expect([
      moved.gateway?.mx.port,
      moved.access.submission.port,
      moved.access.imap.port,
      moved.access.imaps.port,
      moved.http?.port,
    ]).toEqual([3525, 2587, 2143, 2993, 9025]);
    expect(moved.node.listen).toEqual(['/ip4/127.0.0.1/tcp/8525']);
  });

  it('refuse another domain than the ring’s', () => {
    expect(() => withOverrides(config, { domain: 'example.net' }, ring)).toThrow(InputFault);
    expect(withOverrides(config, { domain: 'Example.ORG' }, ring)).toEqual(config);
  });
});

describe('HOST:PORT', () => {
  it.each([
    ['a name', 'mail.example.net:25', { host: 'mail.example.net', port: 25 }],
    ['an IPv6 address in brackets', '[::1]:53', { host: '::1', port: 53 }],
    ['an IPv6 address without brackets could be read two ways', '::1:53', undefined],
    ['a port of 0', 'a:0', undefined],
    ['a port above 65535', 'a:65536', undefined],
    ['no port', 'a', undefined],
    ['something that is no address in brackets', '[abc]:1', undefined],
  ])('%s: %s', (_why, text, expected) => {
    expect(parseHostPort(text)).toEqual(expected);
  });
});
