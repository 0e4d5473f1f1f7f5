import { once } from 'node:events';
import { createServer as createHttps } from 'node:https';
import selfsigned from 'selfsigned';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Answer, Resolver } from '../../../../gateway/dns/answer.ts';
import type { StsPolicy } from '../../../../gateway/relay/transport/mta-sts.ts';
import { transportSecurity } from '../../../../gateway/relay/transport/security.ts';
import { StsBook } from '../../../../gateway/relay/transport/sts-book.ts';
import { fetchStsPolicy } from '../../../../gateway/relay/transport/sts-fetch.ts';
import { type ZoneEntry, zoneResolver } from '../../evidence/zone.ts';

const log = { warn: () => undefined };
const enforce: StsPolicy = { mode: 'enforce', mx: ['mx.dest.example'], maxAgeMs: 60_000 };
const hop = { name: 'mx.dest.example', address: '192.0.2.1', port: 25 };

function marksInMemory() {
  const kept = new Map<string, Uint8Array>();
  return {
    getMark: async (key: string) => kept.get(key),
    setMark: async (key: string, value: Uint8Array) => void kept.set(key, value),
  };
}

const tlsaAnswer = (answer: Answer): Resolver => ({ resolve: async () => answer as never });
const record = (certUsage: number) => ({ certUsage, selector: 1, match: 1, data: new Uint8Array(32) });

describe('what a connection has to prove', () => {
  interface Row {
    readonly why: string;
    readonly policy?: StsPolicy | 'unknown';
    readonly hop?: object;
    readonly tlsa?: Answer;
    readonly wish?: 'required' | 'optional';
    readonly wanted: object;
  }
  const nothing: Answer = { kind: 'nodata' };
  const rows: readonly Row[] = [
    { why: 'nothing, where the domain says nothing', wanted: { demand: { kind: 'opportunistic' }, by: 'none' } },
    {
      why: 'a public certificate, where MTA-STS is enforced',
      policy: enforce,
      wanted: { demand: { kind: 'public-authority' }, by: 'mta-sts' },
    },
    {
      why: 'a server that the policy does not name must not be used',
      policy: { ...enforce, mx: ['other.example'] },
      wanted: { kind: 'refused' },
    },
    {
      why: 'a policy that is being tested hinders nothing',
      policy: { ...enforce, mode: 'testing', mx: ['other.example'] },
      wanted: { demand: { kind: 'opportunistic' } },
    },
    {
      why: 'a policy that withdraws itself asks for nothing',
      policy: { ...enforce, mode: 'none' },
      wanted: { demand: { kind: 'opportunistic' } },
    },
    {
      why: 'the certificate that TLSA records name, before what MTA-STS says (RFC 8461 §2)',
      policy: enforce,
      hop: { validated: true },
      tlsa: { kind: 'records', records: [record(3)], ttlMs: 1, authenticated: true },
      wanted: { demand: { kind: 'dane' }, by: 'dane' },
    },
    {
      why: 'encryption, where no TLSA record can be used (RFC 7672 §2.2)',
      hop: { validated: true },
      tlsa: { kind: 'records', records: [record(1)], ttlMs: 1, authenticated: true },
      wanted: { demand: { kind: 'encrypted' }, by: 'dane' },
    },
    {
      why: 'TLSA records that are not validated count for nothing',
      hop: { validated: true },
      tlsa: { kind: 'records', records: [record(3)], ttlMs: 1, authenticated: false },
      wanted: { demand: { kind: 'opportunistic' } },
    },
    {
      why: 'a server whose TLSA records cannot be looked up must not be used now (RFC 7672 §2.1.2)',
      hop: { validated: true },
      tlsa: { kind: 'unknown', reason: 'the name server failed' },
      wanted: { kind: 'refused' },
    },
    {
      why: 'of a server whose address is not validated none are asked for',
      tlsa: { kind: 'unknown', reason: 'the name server failed' },
      wanted: { demand: { kind: 'opportunistic' } },
    },
    {
      why: 'a host that the operator named is his affair',
      policy: enforce,
      hop: { named: {} },
      wanted: { demand: { kind: 'opportunistic' } },
    },
    {
      why: 'of a policy that cannot be had nothing, but that mail goes',
      policy: 'unknown',
      wanted: { demand: { kind: 'opportunistic' } },
    },
    {
      why: 'nothing, where the sender waives TLS (RFC 8689 §4.3)',
      policy: { ...enforce, mx: ['other.example'] },
      wish: 'optional',
      wanted: { demand: { kind: 'opportunistic' }, by: 'none' },
    },
    {
      why: 'for a message that requires TLS, a public certificate, where MTA-STS names the server (RFC 8689 §4.2.1)',
      policy: enforce,
      wish: 'required',
      wanted: { demand: { kind: 'public-authority' }, by: 'mta-sts' },
    },
    {
      why: 'the same where the policy is being tested: the sender demands it',
      policy: { ...enforce, mode: 'testing' },
      wish: 'required',
      wanted: { demand: { kind: 'public-authority' } },
    },
    {
      why: 'a server that the policy does not name cannot be proved',
      policy: { ...enforce, mode: 'testing', mx: ['other.example'] },
      wish: 'required',
      wanted: { kind: 'unprovable' },
    },
    {
      why: 'what he demands of it holds, also where the sender waives TLS',
      hop: { named: { tls: 'verified' } },
      wish: 'optional',
      wanted: { demand: { kind: 'public-authority' } },
    },
    {
      why: 'TLS with any certificate, where he demands that',
      hop: { named: { tls: 'encrypted' } },
      wanted: { demand: { kind: 'encrypted' } },
    },
    {
      why: 'an address has no policy',
      policy: { ...enforce, mx: ['other.example'] },
      hop: { name: '192.0.2.1' },
      wanted: { demand: { kind: 'opportunistic' } },
    },
    {
      why: 'and nothing proves it',
      hop: { name: '192.0.2.1' },
      wish: 'required',
      wanted: { kind: 'unprovable' },
    },
    { why: 'nor one of which nobody says anything', wish: 'required', wanted: { kind: 'unprovable' } },
    {
      why: 'a domain that is its own server needs nobody to vouch for the name',
      hop: { name: 'dest.example' },
      wish: 'required',
      wanted: { demand: { kind: 'public-authority' } },
    },
    {
      why: 'a policy that cannot be had may be there at the next try',
      policy: 'unknown',
      wish: 'required',
      wanted: { kind: 'refused' },
    },
    {
      why: 'a host that the operator named has to be proved, too',
      hop: { named: {} },
      wish: 'required',
      wanted: { demand: { kind: 'public-authority' } },
    },
  ];
  it.for(rows)('$why', async ({ policy, hop: more, tlsa = nothing, wish, wanted }) => {
    const parts = {
      resolver: tlsaAnswer(tlsa),
      policyFor: async () => policy,
      marks: marksInMemory(),
      now: () => 0,
      log,
    };
    expect(await transportSecurity(parts).of('dest.example', { ...hop, ...more }, wish)).toMatchObject(wanted);
  });

  it('a fall is noticed once, also after a restart', async () => {
    const parts = {
      resolver: tlsaAnswer(nothing),
      policyFor: async () => undefined,
      marks: marksInMemory(),
      now: () => 0,
      log,
    };
    const before = transportSecurity(parts);
    expect(await before.reached('dest.example', 'encrypted')).toBe(false);
    expect(await before.reached('dest.example', 'verified')).toBe(false);
    const after = transportSecurity(parts);
    expect(await after.reached('dest.example', 'plain')).toBe(true);
    expect(await after.reached('dest.example', 'plain')).toBe(false);
  });
});

describe('the policy of a domain', () => {
  let served: { status: number; text: string; location?: string };
  let asked: number;
  let server: ReturnType<typeof createHttps>;
  let pems: Awaited<ReturnType<typeof selfsigned.generate>>;
  let now: number;
  let zone: Record<string, ZoneEntry>;
  let book: StsBook;
  const text = 'version: STSv1\nmode: enforce\nmx: mx.dest.example\nmax_age: 3600\n';

  beforeAll(async () => {
    pems = await selfsigned.generate([{ name: 'commonName', value: 'mta-sts.dest.example' }], {
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'mta-sts.dest.example' }] }],
    });
  });
  beforeEach(async () => {
    served = { status: 200, text };
    asked = 0;
    now = 0;
    server = createHttps({ key: pems.private, cert: pems.cert }, (request, response) => {
      asked += request.url === '/.well-known/mta-sts.txt' ? 1 : 100;
      response
        .writeHead(served.status, served.location === undefined ? {} : { location: served.location })
        .end(served.text);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    zone = { '_mta-sts.dest.example': { TXT: [['v=STSv1; id=1']] }, 'mta-sts.dest.example': { A: ['127.0.0.1'] } };
    openBook(pems.cert);
  });
  afterEach(async () => {
    server.close();
    await once(server, 'close');
  });

  const marks = { current: marksInMemory() };
  function openBook(ca: string, allowPrivate = true, keep = false): void {
    if (!keep) marks.current = marksInMemory();
    const resolver: Resolver = { resolve: (name, type) => zoneResolver(zone).resolve(name, type) };
    const { port } = server.address() as { port: number };
    book = new StsBook({
      resolver,
      marks: marks.current,
      fetch: (domain) => fetchStsPolicy(domain, { resolver, allowPrivate, port, ca }),
      now: () => now,
      log,
    });
  }
  const find = () => book.policyFor('dest.example');

  it('is fetched once, and again when its id changes', async () => {
    expect(await find()).toMatchObject({ mode: 'enforce' });
    await Promise.all([find(), find()]);
    expect(asked).toBe(1);
    zone['_mta-sts.dest.example'] = { TXT: [['v=STSv1; id=2']] };
    served.text = text.replace('enforce', 'testing');
    expect(await find()).toMatchObject({ mode: 'testing' });
  });

  it('stays in force when the record is gone, nobody answers, or the new one cannot be had; until it ends', async () => {
    await find();
    delete zone['_mta-sts.dest.example'];
    expect(await find()).toMatchObject({ mode: 'enforce' });
    zone['_mta-sts.dest.example'] = 'silent';
    expect(await find()).toMatchObject({ mode: 'enforce' });
    zone['_mta-sts.dest.example'] = { TXT: [['v=STSv1; id=3']] };
    served.status = 500;
    expect(await find()).toMatchObject({ mode: 'enforce' });
    openBook(pems.cert, true, true);
    expect(await find()).toMatchObject({ mode: 'enforce' });
    now = 3_600_000;
    expect(await find()).toBe('unknown');
  });

  it('is none where none is announced, and unknown where nobody answers', async () => {
    zone['_mta-sts.dest.example'] = 'silent';
    expect(await find()).toBe('unknown');
    delete zone['_mta-sts.dest.example'];
    expect(await find()).toBeUndefined();
  });

  it('a failed fetch is not repeated at each delivery', async () => {
    served.status = 404;
    expect(await find()).toBe('unknown');
    expect(await find()).toBe('unknown');
    expect(asked).toBe(1);
    now = 300_000;
    served.status = 200;
    expect(await find()).toMatchObject({ mode: 'enforce' });
  });

  const refused: readonly [why: string, change: () => void][] = [
    [
      'a redirect is not followed (§3.3)',
      () => void (served = { status: 302, text: '', location: '/.well-known/mta-sts.txt?again' }),
    ],
    ['more than 64 KiB are not read', () => void (served.text = text + 'x: y\n'.repeat(50_000))],
    ['a policy that is none is none', () => void (served.text = '<html></html>')],
    ['a certificate under an unknown authority is none', () => openBook('')],
    ['a private address is not asked', () => openBook(pems.cert, false)],
  ];
  it.for(refused)('%s', async ([, change]) => {
    change();
    expect(await find()).toBe('unknown');
    expect(asked).toBeLessThan(2);
  });
});
