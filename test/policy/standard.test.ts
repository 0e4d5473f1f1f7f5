import { expect, test } from 'vitest';
import { ordinaryEvidence } from '../../policy/complete-evidence.ts';
import { decide } from '../../policy/decide.ts';
import type { KnownEvidence, Stage } from '../../policy/evidence.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import { standardPolicy } from '../../policy/standard.ts';

const edited = standardPolicy
  .replace('forwarders: []', 'forwarders: [lists.example.net]')
  .replace('blocked_senders: []', 'blocked_senders: [spammer@example.com, "@spam.example", .bad.example]')
  .replace('blocked_networks: []', 'blocked_networks: [198.51.100.0/24, "2001:db8::/32"]');

test('the standard policy has no mistake, no warning, and meets its own expectations', () => {
  const loaded = loadPolicy(standardPolicy);
  expect(loaded.kind === 'policy' ? loaded.warnings : loaded.problems).toEqual([]);
});

test('its expectations can fail', () => {
  const loaded = loadPolicy(standardPolicy.replace('default: accept', 'default: junk'));
  expect(loaded.kind === 'problems' && loaded.problems.every(({ code }) => code === 'expectation-failed')).toBe(true);
});

const failing: KnownEvidence['dmarc'] = { result: 'fail', policy: 'reject', domain: 'bank.example' };

test('without forwarders, an unknown chain changes nothing', () => {
  const loaded = loadPolicy(standardPolicy);
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
  const evidence = ordinaryEvidence('data', { dmarc: failing, arc: { result: 'unknown' } });
  expect(decide(loaded.policy, evidence, new Limits(), 0).rule).toBe('dmarc-reject');
});

const rows: readonly [why: string, stage: Stage, given: KnownEvidence, verdict: string, rule: string][] = [
  [
    'a trusted list that changed a message is no forger',
    'data',
    { dmarc: failing, arc: { result: 'pass', sealer: 'lists.example.net' } },
    'accept',
    'default',
  ],
  [
    'anyone can seal: an untrusted seal proves nothing',
    'data',
    { dmarc: failing, arc: { result: 'pass', sealer: 'elsewhere.example' } },
    'reject',
    'dmarc-reject',
  ],
  [
    'a chain that might be the trusted one is waited for',
    'data',
    { dmarc: failing, arc: { result: 'unknown' } },
    'defer',
    'could-not-find-out',
  ],
  [
    'a blocked address is refused at MAIL',
    'mail',
    { envelope: { from: 'x@spam.example' } },
    'reject',
    'blocked-sender',
  ],
  [
    'a blocked author is refused by any envelope',
    'data',
    { author: { domain: 'a.bad.example' } },
    'reject',
    'blocked-author',
  ],
  ['a blocked network cannot connect', 'connect', { client: { ip: '198.51.100.77' } }, 'reject', 'blocked-network'],
  [
    'a blocked IPv6 network cannot connect',
    'connect',
    { client: { ip: '2001:db8:5::1' } },
    'reject',
    'blocked-network',
  ],
  ['its neighbour can', 'connect', { client: { ip: '198.51.101.77' } }, 'accept', 'default'],
  ['the null sender is welcome', 'mail', { envelope: { from: '', fromDomain: '' } }, 'accept', 'default'],
  [
    'the first try needs no DNS',
    'data',
    {
      client: { loopback: true },
      dmarc: { result: 'unknown' },
      spf: { result: 'unknown' },
      dkim: { result: 'unknown' },
      arc: { result: 'unknown' },
    },
    'accept',
    'local-trial',
  ],
  ['mail from nobody is not for the inbox', 'data', { author: { kind: 'none' } }, 'junk', 'no-author'],
  ['a user who names no author is refused', 'relay', { author: { kind: 'none' } }, 'reject', 'one-author'],
];

test.each(rows)('%s', (_why, stage, given, verdict, rule) => {
  const loaded = loadPolicy(edited);
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
  expect(decide(loaded.policy, ordinaryEvidence(stage, given), new Limits(), 0)).toMatchObject({ verdict, rule });
});
