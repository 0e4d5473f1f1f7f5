import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkPublished } from '../../deploy/command/dns-published.ts';
import { createDkimKeys, type DkimKey } from '../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../gateway/dkim/record.ts';
import { createResolver } from '../../gateway/dns/resolver.ts';
import { type DnsServer, startDnsServer, type Zone } from '../gateway/dns-server.ts';

describe('what is published for a gateway', () => {
  let dns: DnsServer;
  let dir = '';
  let keys: DkimKey[] = [];
  let good: Zone = {};

  beforeAll(async () => {
    dir = await mkdtemp(`${tmpdir()}/epost-dns-`);
    keys = await createDkimKeys(dir, 's');
    good = {
      'mx.one.test': { A: ['192.0.2.7'], AAAA: ['2001:db8::7'] },
      '7.2.0.192.in-addr.arpa': { PTR: ['MX.one.test'] },
      [`7.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`]: { PTR: ['mx.one.test'] },
      'one.test': { MX: [{ preference: 10, exchange: 'mx.one.test' }], TXT: ['v=spf1 mx -all', 'something=else'] },
      '_dmarc.one.test': { TXT: ['v=DMARC1; p=none'] },
      ...Object.fromEntries(
        keys.map((key) => {
          const { name, strings } = dkimRecord(key, 'one.test');
          return [name, { TXT: [[...strings]] }];
        }),
      ),
    };
    dns = await startDnsServer(good);
  });
  afterAll(async () => {
    await dns.close();
    await rm(dir, { recursive: true });
  });

  // A resolver without a memory of the row before.
  const check = () =>
    checkPublished(
      { hostname: 'mx.one.test', domains: ['one.test'], keys },
      createResolver({ servers: [dns.address], timeoutMs: 300, now: Date.now }),
    );

  it('is right as a whole when all of it is there', async () => {
    dns.publish(good);
    const findings = await check();
    expect(findings.filter(({ state }) => state !== 'right')).toEqual([]);
    expect(findings.map(({ record }) => record.split(' ')[0])).toEqual([
      'A/AAAA',
      'PTR',
      'PTR',
      'MX',
      'TXT',
      'TXT',
      'TXT',
      'TXT',
    ]);
  });

  const rows: readonly [string, Zone, string, string, RegExp][] = [
    [
      'mail that goes elsewhere is wrong',
      { 'one.test': { MX: [{ preference: 5, exchange: 'old.test' }] } },
      'MX one.test',
      'wrong',
      /not among them/,
    ],
    [
      'two SPF records are none',
      { 'one.test': { TXT: ['v=spf1 -all', 'v=spf1 mx -all'] } },
      'TXT one.test',
      'wrong',
      /keep one/,
    ],
    [
      'another record is no DMARC record',
      { '_dmarc.one.test': { TXT: ['hello'] } },
      'TXT _dmarc.one.test',
      'missing',
      /publish a DMARC record/,
    ],
    [
      'another name of the address is wrong',
      { '7.2.0.192.in-addr.arpa': { PTR: ['host7.isp.test'] } },
      'PTR of 192.0.2.7',
      'wrong',
      /isp\.test/,
    ],
    [
      'another key is wrong',
      { 'sr._domainkey.one.test': { TXT: ['v=DKIM1; p=AAAA'] } },
      'TXT sr._domainkey.one.test',
      'wrong',
      /epost dns/,
    ],
    ['a silent name server says nothing', { '_dmarc.one.test': 'silent' }, 'TXT _dmarc.one.test', 'unknown', /./],
    [
      'a host without an address gets no mail',
      { 'mx.one.test': { TXT: ['x'] } },
      'A/AAAA mx.one.test',
      'missing',
      /nobody can bring mail/,
    ],
  ];
  it.each(rows)('%s', async (_why, change, record, state, found) => {
    dns.publish({ ...good, ...change });
    const finding = (await check()).find((one) => one.record === record);
    expect(finding).toMatchObject({ state, found: expect.stringMatching(found) });
  });
});
