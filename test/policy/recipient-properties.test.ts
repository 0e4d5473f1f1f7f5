import fc from 'fast-check';
import { expect, test } from 'vitest';
import { completeEvidence } from '../../policy/complete-evidence.ts';
import { factsByPath, type KnownEvidence } from '../../policy/evidence.ts';
import { explain } from '../../policy/explain.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import { authorIsProven } from '../../policy/mildness.ts';
import type { Policy } from '../../policy/policy.ts';
import { readyMadeForRecipients } from '../../policy/ready-made.ts';
import { decideForRecipient } from '../../policy/recipient.ts';

const friend = 'friend@far.example';
const facts = [...factsByPath.values()].filter((fact) => fact.stages.includes('notification'));
const strictness = ['accept', 'introduce', 'junk', 'quarantine', 'reject'];

/** Whatever a notification can have: each fact with one of its values, or a text that turns up in policies. */
const known: fc.Arbitrary<KnownEvidence> = fc
  .array(fc.tuple(fc.constantFrom(...facts), fc.nat(5), fc.constantFrom(friend, 'far.example', '', 'x"y\u202e')))
  .map((rows) => {
    const groups: Record<string, Record<string, unknown>> = {};
    for (const [fact, n, text] of rows) {
      const value =
        fact.values?.[n % fact.values.length] ??
        (fact.type === 'int' ? n * 100 : fact.type === 'bool' ? n % 2 === 0 : fact.type === 'string' ? text : [text]);
      (groups[fact.group] ??= {})[fact.name] = value;
    }
    return groups;
  });

const conditions = [
  'author.address in lists.friends',
  `author.address == "${friend}"`,
  `identity.address == "${friend}"`,
  'author.domain in lists.friends',
  'dmarc.result == "pass"',
  'spf.result != "fail"',
  'organisation.verdict == "junk"',
  'history.seenSender',
  'identity.kind == "gateway"',
  'message.bytes > 200',
];
const condition: fc.Arbitrary<string> = fc.letrec<{ any: string }>((tie) => ({
  any: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(...conditions),
    fc.tuple(tie('any'), fc.constantFrom('&&', '||'), tie('any')).map(([a, op, b]) => `(${a} ${op} ${b})`),
    tie('any').map((a) => `!(${a})`),
  ),
})).any;

const policies: fc.Arbitrary<Policy | undefined> = fc
  .array(fc.tuple(condition, fc.constantFrom(...strictness)), { maxLength: 5 })
  .map((rules) => {
    const text = rules.map(([when, verdict], n) => `  - {id: r${n}, do: ${verdict}, when: '${when}'}`).join('\n');
    const loaded = loadPolicy(
      `version: 1\nlists:\n  friends: [${friend}, "@far.example", far.example]\nrules:\n${text}\ndefault: accept\n`,
      'recipient',
    );
    // What no message reaches is refused when it is loaded.
    return loaded.kind === 'policy' ? loaded.policy : undefined;
  });

test('a recipient is never milder than his organisation but by a rule that names one who is proven', () => {
  fc.assert(
    fc.property(policies, known, (policy, given) => {
      if (policy === undefined) return;
      const evidence = completeEvidence('notification', given);
      const decision = decideForRecipient(policy, evidence, new Limits(), 0);
      const { verdict: organisation } = evidence.organisation;
      if (strictness.indexOf(decision.verdict) >= strictness.indexOf(organisation)) return;
      expect(authorIsProven(evidence)).toBe(true);
      expect([evidence.author.address, evidence.identity.address]).toContain(friend);
    }),
    { numRuns: 500 },
  );
});

test('whatever comes, a recipient’s decision is one of five, names its rule and can be explained', () => {
  const loaded = readyMadeForRecipients.flatMap(({ text }) => {
    const policy = loadPolicy(text, 'recipient');
    return policy.kind === 'policy' ? [policy.policy] : [];
  });
  expect(loaded).toHaveLength(readyMadeForRecipients.length);
  fc.assert(
    fc.property(fc.constantFrom(...loaded), known, (policy, given) => {
      const whole = completeEvidence('notification', given);
      const decision = decideForRecipient(policy, whole, new Limits(), 0);
      expect(strictness).toContain(decision.verdict);
      expect(decision.trace.some(({ rule }) => rule === decision.rule)).toBe(true);
      expect(explain(decision, whole)).toContain(`${decision.verdict} at notification`);
    }),
  );
});
