import { describe, expect, it, test } from 'vitest';
import { completeEvidence } from '../../policy/complete-evidence.ts';
import type { KnownEvidence } from '../../policy/evidence.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import type { Policy } from '../../policy/policy.ts';
import { problemText } from '../../policy/problem.ts';
import { readyMadeForRecipients } from '../../policy/ready-made.ts';
import { decideForRecipient } from '../../policy/recipient.ts';

function policyOf(rules: string, rest = 'default: accept'): Policy {
  const loaded = loadPolicy(
    `version: 1\nlists:\n  friends: [friend@far.example, "@near.example"]\nrules:\n${rules}\n${rest}\n`,
    'recipient',
  );
  if (loaded.kind !== 'policy') throw new Error(loaded.problems.map((one) => problemText(one)).join('\n'));
  return loaded.policy;
}

/** A letter that the gateway carried from a stranger of the Internet. */
const outside: KnownEvidence = {
  identity: { verified: true, kind: 'gateway', address: 'gateway@example.org', ring: 'example.org' },
  author: { kind: 'single', address: 'friend@far.example', domain: 'far.example' },
  dmarc: { result: 'pass', policy: 'reject', domain: 'far.example' },
  spf: { result: 'none' },
  dkim: { result: 'none' },
  arc: { result: 'none' },
  organisation: { verdict: 'accept', rule: 'default' },
  ring: { name: 'example.org' },
};
const junk: KnownEvidence = { organisation: { verdict: 'junk', rule: 'spf-fail' } };
const unproven: KnownEvidence = { dmarc: { result: 'fail' } };
const friends = '  - {id: friends, when: author.address in lists.friends, do: accept}';

describe('a recipient', () => {
  test.each<[why: string, rules: string, known: KnownEvidence, verdict: string, rule: string]>([
    [
      'is stricter where he likes',
      '  - {id: away, when: author.domain == "far.example", do: reject}',
      {},
      'reject',
      'away',
    ],
    [
      'is stricter than junk',
      '  - {id: away, when: author.domain == "far.example", do: quarantine}',
      junk,
      'quarantine',
      'away',
    ],
    ['trusts a person by name who is proven', friends, junk, 'accept', 'friends'],
    [
      'trusts a person whom one rule names outright',
      '  - {id: f, when: author.address == "friend@far.example", do: accept}',
      junk,
      'accept',
      'f',
    ],
    ['trusts nobody by name who is not proven', friends, { ...junk, ...unproven }, 'junk', 'organisation'],
    [
      'trusts nobody for his domain alone',
      friends,
      { ...junk, author: { kind: 'single', address: 'x@near.example', domain: 'near.example' } },
      'junk',
      'organisation',
    ],
    [
      'makes nothing milder without a name',
      '  - {id: all, when: dmarc.result == "pass", do: accept}',
      junk,
      'junk',
      'organisation',
    ],
    [
      'makes nothing milder by an alternative without a name',
      '  - {id: or, when: author.address in lists.friends || dmarc.result == "pass", do: accept}',
      junk,
      'junk',
      'organisation',
    ],
    [
      'makes junk no introduction',
      '  - {id: first, when: "!history.seenSender", do: introduce}',
      junk,
      'junk',
      'organisation',
    ],
    [
      'loses nothing that he cannot settle',
      '  - {id: away, when: spf.result == "fail", do: reject}',
      { spf: { result: 'unknown' } },
      'accept',
      'organisation',
    ],
    [
      'loses nothing of what is junk and he cannot settle',
      '  - {id: away, when: spf.result == "fail", do: reject}',
      { spf: { result: 'unknown' }, ...junk },
      'junk',
      'organisation',
    ],
    [
      'has a default that makes nothing milder',
      '  - {id: away, when: spf.result == "fail", do: reject}',
      junk,
      'junk',
      'organisation',
    ],
    ['says yes to what the organisation says yes to', friends, {}, 'accept', 'friends'],
    [
      'cannot take back what the authority blocked',
      friends,
      { identity: { ...outside.identity, standing: 'blocked' } },
      'reject',
      'blocked-everywhere',
    ],
  ])('%s', (_why, rules, known, verdict, rule) => {
    const evidence = completeEvidence('notification', { ...outside, ...known });
    const decision = decideForRecipient(policyOf(rules), evidence, new Limits(), 0);
    expect([decision.verdict, decision.rule]).toEqual([verdict, rule]);
    expect(decision.trace.at(-1)?.rule).toBe(rule);
  });

  it('names a person of the ring by his key, too', () => {
    const key = '0123456789abcdef0123456789abcdef';
    const policy = policyOf(`  - {id: boss, when: identity.key == "${key}", do: accept}`);
    const ringUser = { verified: true, kind: 'user', address: 'boss@example.org', ring: 'example.org' } as const;
    const evidence = completeEvidence('notification', {
      ...outside,
      ...junk,
      identity: { ...ringUser, key },
      author: { kind: 'single', address: 'boss@example.org', domain: 'example.org' },
    });
    expect(decideForRecipient(policy, evidence, new Limits(), 0)).toMatchObject({ verdict: 'accept', rule: 'boss' });
    const other = { ...evidence, identity: { ...evidence.identity, key: key.replace('0', 'f') } };
    expect(decideForRecipient(policy, other, new Limits(), 0)).toMatchObject({ verdict: 'junk', rule: 'organisation' });
  });
});

describe('a policy of a recipient', () => {
  test.each(readyMadeForRecipients.map(({ name, text }) => [name, text]))(
    '%s, which is ready-made, is good',
    (_name, text) => {
      const loaded = loadPolicy(text, 'recipient');
      expect(loaded).toMatchObject({ kind: 'policy', warnings: [] });
    },
  );

  test.each<[why: string, rule: string, code: string]>([
    ['decides no other stage', '{id: a, stages: data, when: "true", do: junk}', 'stage-not-yours'],
    ['does not make a sender wait: it answers at once', '{id: a, when: "true", do: defer}', 'verdict-not-there'],
    ['knows nothing that stands in the message', '{id: a, when: message.listId != "", do: junk}', 'not-known-there'],
    [
      'is told when it wants to be milder without a name',
      '{id: a, when: organisation.verdict == "junk", do: accept}',
      'milder-than-organisation',
    ],
    ['has no replies', '{id: a, when: spf.result == "fail", do: reject, reply: go away}', 'reply-unused'],
  ])('%s', (_why, rule, code) => {
    const loaded = loadPolicy(`version: 1\nrules:\n  - ${rule}\ndefault: accept\n`, 'recipient');
    const problems = loaded.kind === 'policy' ? loaded.warnings : loaded.problems;
    expect(problems.map((one) => one.code)).toEqual([code]);
  });

  it('is not what a gateway decides by', () => {
    const loaded = loadPolicy(
      'version: 1\nrules:\n  - {id: a, stages: notification, when: "true", do: junk}\ndefault: accept\n',
    );
    expect(loaded.kind === 'problems' && loaded.problems.map((one) => one.code)).toEqual(['stage-not-yours']);
  });
});
