import { describe, expect, it } from 'vitest';
import { ordinaryEvidence } from '../../policy/complete-evidence.ts';
import { decide } from '../../policy/decide.ts';
import type { KnownEvidence, Stage } from '../../policy/evidence.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import type { Policy } from '../../policy/policy.ts';
import { type PastDecision, Replay } from '../../policy/replay.ts';
import { standardPolicy } from '../../policy/standard.ts';

function policyOf(text: string): Policy {
  const loaded = loadPolicy(text);
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
  return loaded.policy;
}

const standard = policyOf(standardPolicy);
let serial = 0;

function past(given: KnownEvidence, stage: Stage = 'data', at = 0): PastDecision {
  const evidence = ordinaryEvidence(stage, given);
  const { verdict, rule } = decide(standard, evidence, new Limits(), at);
  serial += 1;
  return { id: `t${serial}`, at, verdict, rule, evidence };
}

function replayed(policy: Policy, decisions: readonly PastDecision[]) {
  const replay = new Replay(policy);
  for (const decision of decisions) replay.add(decision);
  return replay.report();
}

const spam: KnownEvidence = { spf: { result: 'fail' }, author: { address: 'x@spam.example', domain: 'spam.example' } };

describe('a replay', () => {
  it('with the policy of then changes nothing', () => {
    const decisions = [past({}), past(spam), past({ dmarc: { result: 'fail', policy: 'reject' } }), past({}, 'relay')];
    expect(replayed(standard, decisions)).toMatchObject({ decided: 4, changed: 0, changes: [], senders: [] });
  });

  it('shows what would change: verdict and rule before and after, class, sender, samples', () => {
    const harder = policyOf(
      standardPolicy
        .replace(
          'when: spf.result == "fail" && dmarc.result == "none" && class != "forwarded"\n    do: junk',
          'when: spf.result == "fail" && dmarc.result == "none" && class != "forwarded"\n    do: reject\n    reply: no',
        )
        .replace('- {given: {spf: {result: fail}}, verdict: junk, rule: spf-fail}', ''),
    );
    const decisions = [past(spam), past({}), past(spam)];
    expect(replayed(harder, decisions)).toMatchObject({
      decided: 3,
      changed: 2,
      changes: [
        {
          from: { verdict: 'junk', rule: 'spf-fail' },
          to: { verdict: 'reject', rule: 'spf-fail' },
          class: 'none',
          count: 2,
          samples: [decisions[0]?.id, decisions[2]?.id],
        },
      ],
      senders: [{ sender: 'x@spam.example', count: 2 }],
    });
  });

  it('leads a message through the stages before its data, where a new rule may refuse it', () => {
    const blocking = policyOf(standardPolicy.replace('blocked_networks: []', 'blocked_networks: [192.0.2.0/24]'));
    const { changes } = replayed(blocking, [past({})]);
    expect(changes).toMatchObject([
      { from: { verdict: 'accept' }, to: { verdict: 'reject', rule: 'blocked-network' } },
    ]);
  });

  it('says of what was refused early that it would have gone on, and no more', () => {
    const blocking = policyOf(standardPolicy.replace('blocked_networks: []', 'blocked_networks: [192.0.2.0/24]'));
    const evidence = ordinaryEvidence('connect', {});
    const { verdict, rule } = decide(blocking, evidence, new Limits(), 0);
    const { changes } = replayed(standard, [{ id: 'c1', at: 0, verdict, rule, evidence }]);
    expect(changes).toMatchObject([{ from: { verdict: 'reject', rule: 'blocked-network' }, to: { verdict: 'go-on' } }]);
  });

  it('runs limits by the times of then', () => {
    const limited = policyOf(
      'version: 1\nrules:\n  - id: slow\n    when: true\n    limit: {by: client.subnet, rate: 2/h, over: defer}\ndefault: accept\n',
    );
    const at = (minutes: number): PastDecision => past({}, 'data', minutes * 60_000);
    expect(replayed(limited, [at(0), at(1), at(2), at(3)]).changed).toBe(2);
    expect(replayed(limited, [at(0), at(60), at(120), at(180)]).changed).toBe(0);
  });

  it('counts what rules in shadow mode would have decided, with samples', () => {
    const ours: KnownEvidence = { author: { address: 'boss@example.org', domain: 'example.org' } };
    const decisions = [past(ours), past(ours), past({})];
    expect(replayed(standard, decisions).shadow).toEqual([
      { rule: 'claims-to-be-ours', count: 2, samples: [decisions[0]?.id, decisions[1]?.id] },
    ]);
  });

  it('of mail from more senders than it can name stays bounded, and counts the rest together', () => {
    const none = policyOf('version: 1\nrules: []\ndefault: reject\n');
    const replay = new Replay(none);
    for (let i = 0; i < 10_050; i += 1)
      replay.add({ ...past({}), evidence: ordinaryEvidence('data', { author: { address: `a${i}@x.example` } }) });
    const { changed, senders, changes } = replay.report();
    expect([changed, senders.length, senders[0]]).toEqual([10_050, 20, { sender: '(others)', count: 50 }]);
    expect(changes[0]?.samples).toHaveLength(5);
  });
});
