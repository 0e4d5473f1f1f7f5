import { describe, expect, it } from 'vitest';
import type { Resolver } from '../../../gateway/dns/answer.ts';
import { type DnsListZones, dnsLists } from '../../../gateway/evidence/dns-lists.ts';
import { type Domain, parseDomain } from '../../../policy/address.ts';
import { type ZoneEntry, zoneResolver } from './zone.ts';

const listed = { A: ['127.0.0.2'] };
/** A list that works as RFC 5782 §5 says. */
const working = { '2.0.0.127.block.test': listed, 'test.names.test': listed, '2.0.0.127.allow.test': listed };
const nothing = { block: 'none', blockedBy: [], allow: 'none', allowedBy: [], domain: 'none', domainListedBy: [] };

interface Row {
  readonly why: string;
  readonly zone: Readonly<Record<string, ZoneEntry>>;
  readonly ask?: Partial<DnsListZones>;
  readonly ip?: string;
  readonly domains?: readonly string[];
  readonly says: object;
}

const rows: readonly Row[] = [
  { why: 'without lists nothing is asked', zone: working, ask: { block: [] }, says: nothing },
  {
    why: 'an address with a record in 127/8 is listed (RFC 5782 §2.1)',
    zone: { ...working, '66.113.0.203.block.test': { A: ['127.0.0.4'] } },
    says: { block: 'listed', blockedBy: ['block.test'] },
  },
  { why: 'an address without one is clear', zone: working, says: { block: 'clear', blockedBy: [] } },
  {
    why: 'an IPv6 address is asked nibble by nibble (RFC 5782 §2.4)',
    zone: { ...working, ['1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.block.test']: listed },
    ip: '2001:db8::1',
    says: { block: 'listed' },
  },
  {
    why: 'a list that does not answer says nothing',
    zone: { '66.113.0.203.block.test': 'silent' },
    says: { block: 'unknown' },
  },
  {
    why: 'an address outside 127/8 is a parked domain, no listing',
    zone: { ...working, '66.113.0.203.block.test': { A: ['198.51.100.9'] } },
    says: { block: 'unknown', blockedBy: [] },
  },
  {
    why: '127.255.255.254 says that we may not ask, no listing',
    zone: { ...working, '66.113.0.203.block.test': { A: ['127.255.255.254'] } },
    says: { block: 'unknown', blockedBy: [] },
  },
  {
    why: 'a list that lists everything is dead (RFC 5782 §5)',
    zone: { ...working, '66.113.0.203.block.test': listed, '1.0.0.127.block.test': listed },
    says: { block: 'unknown', blockedBy: [] },
  },
  {
    why: 'a list without its test entry is dead',
    zone: { '66.113.0.203.block.test': listed },
    says: { block: 'unknown', blockedBy: [] },
  },
  {
    why: 'one list that lists is enough, and silence of another does not take it back',
    zone: { ...working, '66.113.0.203.block.test': listed, '66.113.0.203.other.test': 'silent' },
    ask: { block: ['other.test', 'block.test'] },
    says: { block: 'listed', blockedBy: ['block.test'] },
  },
  {
    why: 'allow lists are asked like block lists',
    zone: { ...working, '66.113.0.203.allow.test': listed },
    ask: { allow: ['allow.test'] },
    says: { allow: 'listed', allowedBy: ['allow.test'] },
  },
  {
    why: 'any domain of the message that is listed counts',
    zone: { ...working, 'evil.example.names.test': listed },
    ask: { domains: ['names.test'] },
    domains: ['fine.example', 'evil.example'],
    says: { domain: 'listed', domainListedBy: ['names.test'] },
  },
  {
    why: 'a message that names no domain is on no list of domains',
    zone: working,
    ask: { domains: ['names.test'] },
    domains: [],
    says: { domain: 'none' },
  },
];

describe('DNS lists', () => {
  it.for(rows)(
    '$why',
    async ({ zone, ask = { block: ['block.test'] }, ip = '203.0.113.66', domains = ['evil.example'], says }) => {
      const lists = dnsLists({ block: [], allow: [], domains: [], ...ask }, () => 0);
      const named = domains.map((name) => parseDomain(name) as Domain);
      expect(await lists.of(ip, named, zoneResolver(zone))).toMatchObject(says);
    },
  );

  it('whether a list works is found out once an hour, and again five minutes after it failed', async () => {
    let now = 0;
    let asked = 0;
    const of = (zone: Row['zone']): Resolver => {
      const inner = zoneResolver(zone);
      return {
        resolve: (name, type) => {
          if (name.includes('.0.0.127.')) asked += 1;
          return inner.resolve(name, type);
        },
      };
    };
    const lists = dnsLists({ block: ['block.test'], allow: [], domains: [] }, () => now);
    const dead = { '66.113.0.203.block.test': listed };
    expect((await lists.of('203.0.113.66', [], of(dead))).block).toBe('unknown');
    const alive = { ...dead, ...working };
    expect((await lists.of('203.0.113.66', [], of(alive))).block).toBe('unknown');
    now = 300_000;
    expect((await lists.of('203.0.113.66', [], of(alive))).block).toBe('listed');
    now = 3_000_000;
    await lists.of('203.0.113.66', [], of(alive));
    expect(asked).toBe(4);
    now = 4_000_000;
    await lists.of('203.0.113.66', [], of(alive));
    expect(asked).toBe(6);
  });
});
