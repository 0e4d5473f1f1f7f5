import { describe, expect, it } from 'vitest';
import { ordinaryEvidence } from '../../policy/complete-evidence.ts';
import { decide } from '../../policy/decide.ts';
import type { KnownEvidence, Stage } from '../../policy/evidence.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import type { Policy } from '../../policy/policy.ts';
import { readyMade } from '../../policy/ready-made.ts';

function textOf(name: string): string {
  const made = readyMade.find((one) => one.name === name);
  if (made === undefined) throw new Error(`no ready-made policy ${name}`);
  return made.text;
}

function policyOf(text: string): Policy {
  const loaded = loadPolicy(text);
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
  return loaded.policy;
}

describe.each(readyMade)('the ready-made policy $name', ({ text }) => {
  it('has no mistake and no warning, and meets its own expectations', () => {
    const loaded = loadPolicy(text);
    expect(loaded.kind === 'policy' ? loaded.warnings : loaded.problems).toEqual([]);
  });

  it('has expectations that can fail', () => {
    const loaded = loadPolicy(text.replace('default: accept', 'default: quarantine'));
    expect(loaded.kind === 'problems' && loaded.problems.every(({ code }) => code === 'expectation-failed')).toBe(true);
  });

  it('never relays for a stranger', () => {
    const evidence = ordinaryEvidence('relay', { identity: { verified: false } });
    expect(decide(policyOf(text), evidence, new Limits(), 0)).toMatchObject({ verdict: 'reject' });
  });
});

const proven: KnownEvidence = {
  dmarc: { result: 'pass', domain: 'partner.example' },
  author: { kind: 'single', address: 'ann@partner.example', domain: 'partner.example' },
};
const partners = textOf('closed').replace('partners: []', 'partners: [partner.example]');

const rows: readonly [why: string, text: string, stage: Stage, given: KnownEvidence, verdict: string, rule: string][] =
  [
    ['closed: a partner who proves it comes in', partners, 'data', proven, 'accept', 'default'],
    [
      'closed: a partner who does not prove it stays out',
      partners,
      'data',
      { ...proven, dmarc: { result: 'fail' } },
      'reject',
      'partners-only',
    ],
    [
      'closed: not to know whether it is a partner is to wait',
      partners,
      'data',
      { ...proven, dmarc: { result: 'unknown' } },
      'defer',
      'could-not-find-out',
    ],
    [
      'closed: who is not even named as a partner does not wait',
      partners,
      'data',
      { dmarc: { result: 'unknown' }, author: { domain: 'x.example' } },
      'reject',
      'partners-only',
    ],
    [
      'closed: several authors are no partner',
      partners,
      'data',
      { ...proven, author: { ...proven.author, kind: 'ambiguous' } },
      'reject',
      'partners-only',
    ],
    [
      'strict: a seal that nobody trusts proves nothing',
      textOf('strict'),
      'data',
      { arc: { result: 'pass', sealer: 'x.example' } },
      'reject',
      'not-proven',
    ],
    [
      'strict: not to know the signature is to wait',
      textOf('strict'),
      'data',
      { dkim: { result: 'unknown' } },
      'defer',
      'could-not-find-out',
    ],
  ];

it.each(rows)('%s', (_why, text, stage, given, verdict, rule) => {
  expect(decide(policyOf(text), ordinaryEvidence(stage, given), new Limits(), 0)).toMatchObject({ verdict, rule });
});

it('observe counts what standard would have done, for every rule of it', () => {
  const [standard, observe] = [policyOf(textOf('standard')), policyOf(textOf('observe'))];
  expect(observe.rules.map(({ id }) => id)).toEqual(standard.rules.map(({ id }) => id));
  expect(observe.rules.every(({ mode }) => mode === 'shadow')).toBe(true);
  const evidence = ordinaryEvidence('data', { dmarc: { result: 'fail', policy: 'reject' } });
  expect(decide(observe, evidence, new Limits(), 0)).toMatchObject({ verdict: 'accept', shadow: ['dmarc-reject'] });
});
