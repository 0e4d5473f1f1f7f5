import { Environment } from '@marcbachmann/cel-js';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compactEvidence, completeEvidence, evidenceAt, isOfType } from '../../policy/complete-evidence.ts';
import { decide } from '../../policy/decide.ts';
import { type Evidence, type Fact, facts, factsByPath, type KnownEvidence, stages } from '../../policy/evidence.ts';
import { explain } from '../../policy/explain.ts';
import { Expressions } from '../../policy/expression.ts';
import { direct } from '../../policy/expression-direct.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import { NameList } from '../../policy/name-list.ts';
import { implied, type Policy, verdictsAt } from '../../policy/policy.ts';
import { standardPolicy } from '../../policy/standard.ts';

const policy = ((): Policy => {
  const loaded = loadPolicy(standardPolicy.replace('forwarders: []', 'forwarders: [a.example]'));
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
  return loaded.policy;
})();

function valueOf(fact: Fact): fc.Arbitrary<unknown> {
  if (fact.values !== undefined) return fc.constantFrom(...fact.values);
  const word = fc.oneof(fc.constantFrom('', 'a.example', 'x@a.example', '192.0.2.1'), fc.string());
  if (fact.type === 'string') return word;
  if (fact.type === 'bool') return fc.boolean();
  if (fact.type === 'int') return fc.maxSafeInteger();
  return fc.array(word, { maxLength: 5 });
}

const known = fc.record(
  Object.fromEntries(
    Object.keys(facts).map((group) => {
      const members = [...factsByPath.values()].filter((fact) => fact.group === group);
      return [
        group,
        fc.record(Object.fromEntries(members.map((fact) => [fact.name, valueOf(fact)])), { requiredKeys: [] }),
      ];
    }),
  ),
  { requiredKeys: [] },
) as fc.Arbitrary<KnownEvidence>;
const evidence = fc.tuple(fc.constantFrom(...stages), known).map(([stage, given]) => completeEvidence(stage, given));

const ids = [...policy.rules.map(({ id }) => id), ...Object.values(implied)];

test('every decision names a rule, has a verdict its stage can carry out, and can be explained', () => {
  const limits = new Limits();
  fc.assert(
    fc.property(evidence, fc.nat(), (given, now) => {
      const decision = decide(policy, given, limits, now);
      expect(ids).toContain(decision.rule);
      expect(verdictsAt[given.stage]).toContain(decision.verdict);
      expect(decision.trace.at(-1)?.rule).toBe(decision.rule);
      expect(decision.reply === undefined).toBe(!['reject', 'defer'].includes(decision.verdict));
      expect(explain(decision, given)).toContain(decision.rule);
    }),
    { numRuns: 500 },
  );
});

test('the same evidence gives the same decision', () => {
  fc.assert(
    fc.property(evidence, (given) => {
      const stored = JSON.parse(JSON.stringify(given)) as Evidence;
      expect(decide(policy, stored, new Limits(), 0)).toEqual(decide(policy, given, new Limits(), 0));
    }),
  );
});

test('anything at all in place of evidence gives a decision', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...stages),
      fc.object({ key: fc.constantFrom(...Object.keys(facts), 'result', 'kind') }),
      (stage, junk) => {
        expect(ids).toContain(decide(policy, { ...junk, stage } as unknown as Evidence, new Limits(), 0).rule);
        const completed = completeEvidence(stage, junk);
        for (const fact of factsByPath.values()) {
          expect(isOfType(fact, (completed[fact.group] as Record<string, unknown>)[fact.name])).toBe(true);
        }
      },
    ),
  );
});

// What was unknown may turn out either way: if both ways lead to one verdict, or we wait, nobody was wronged.
test('an unknown result never gives a verdict that some known result would not give, unless a rule names it', () => {
  const alternatives = ['pass', 'fail', 'none'] as const;
  const policies = ['none', 'quarantine', 'reject'] as const;
  fc.assert(
    fc.property(known, (given) => {
      const decided = (dmarc: KnownEvidence['dmarc']): string =>
        decide(policy, completeEvidence('data', { ...given, dmarc: { ...given.dmarc, ...dmarc } }), new Limits(), 0)
          .verdict;
      const unknown = decide(
        policy,
        completeEvidence('data', { ...given, dmarc: { ...given.dmarc, result: 'unknown' } }),
        new Limits(),
        0,
      );
      if (unknown.rule === 'local-trial' || unknown.verdict === 'defer') return;
      for (const result of alternatives) {
        for (const asked of policies) expect([unknown.verdict, 'defer']).toContain(decided({ result, policy: asked }));
      }
    }),
    { numRuns: 300 },
  );
});

test('any text is a policy or problems with a place', () => {
  const lines = standardPolicy.split('\n');
  const words = fc.constantFrom(
    'rules:',
    '- id: a',
    'when: ',
    '&',
    '*a',
    '{',
    '}',
    '[',
    ']',
    '"',
    'do: reject',
    ': ',
    '\n',
    '  ',
    '!!set',
    '|',
    '>-',
    '%YAML 9',
    '---',
    '<<: *a',
    '\t',
    '?',
    'dmarc.result == "',
  );
  const spliced = fc
    .tuple(fc.nat(lines.length), fc.nat(4), fc.array(words, { maxLength: 6 }))
    .map(([at, drop, put]) => [...lines.slice(0, at), put.join(''), ...lines.slice(at + drop)].join('\n'));
  const texts = fc.oneof(
    fc.string({ maxLength: 300 }),
    fc.array(words, { maxLength: 40 }).map((all) => all.join('')),
    spliced,
  );
  fc.assert(
    fc.property(texts, (text) => {
      const loaded = loadPolicy(text);
      const problems = loaded.kind === 'policy' ? loaded.warnings : loaded.problems;
      const last = text.split(/\n/).length;
      for (const { line, column } of problems) {
        expect(line).toBeGreaterThanOrEqual(1);
        expect(line).toBeLessThanOrEqual(last);
        expect(column).toBeGreaterThanOrEqual(1);
      }
      expect(loaded.kind === 'policy' || problems.length > 0).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test('any text as a condition compiles to something total or is refused', () => {
  const expressions = new Expressions({ names: new NameList(['a.example']) });
  const parts = fc.constantFrom(
    'author.domain',
    'message.bytes',
    '"x"',
    '1',
    'true',
    'tls.used',
    '==',
    '<',
    'in',
    'lists.names',
    '&&',
    '||',
    '!',
    '(',
    ')',
    '?',
    ':',
    '+',
    '-',
    '[',
    ']',
    '.size()',
    'size(',
    'envelope.recipients',
    '.exists(r, ',
    'r',
    'class',
    ',',
  );
  const texts = fc.oneof(
    fc.array(parts, { maxLength: 12 }).map((all) => all.join(' ')),
    fc.string(),
  );
  fc.assert(
    fc.property(texts, (text) => {
      expect(['compiled', 'troubles']).toContain(expressions.condition(text).kind);
    }),
    { numRuns: 2000 },
  );
});

test('a common atom means what the library makes of it', () => {
  const environment = new Environment();
  environment.registerVariable('author', { schema: { domain: 'string' } });
  environment.registerVariable('message', { schema: { bytes: 'int' } });
  environment.registerVariable('tls', { schema: { used: 'bool' } });
  const atom = fc.oneof(
    fc
      .tuple(fc.constantFrom('==', '!='), fc.constantFrom('"a"', '"b"', '""'))
      .map(([op, word]) => `author.domain ${op} ${word}`),
    fc
      .tuple(fc.constantFrom('==', '!=', '<', '<=', '>', '>='), fc.integer({ min: 0, max: 3 }))
      .map(([op, n]) => `message.bytes ${op} ${n}`),
    fc.constantFrom('tls.used', 'tls.used == true', 'tls.used != false'),
  );
  fc.assert(
    fc.property(
      atom,
      fc.constantFrom('a', 'b', ''),
      fc.bigInt({ min: -1n, max: 4n }),
      fc.boolean(),
      (text, domain, bytes, used) => {
        const parsed = environment.parse(text);
        const context = { author: { domain }, message: { bytes }, tls: { used } };
        const quick = direct(parsed.ast);
        expect(quick).toBeDefined();
        expect(quick?.(context)).toBe(parsed(context));
      },
    ),
  );
});

test('what is kept of evidence gives the same evidence again, also through JSON', () => {
  fc.assert(
    fc.property(evidence, (given) => {
      const kept = JSON.parse(JSON.stringify(compactEvidence(given))) as KnownEvidence;
      expect(completeEvidence(given.stage, kept)).toEqual(given);
    }),
    { numRuns: 500 },
  );
});

test('evidence of an earlier stage holds nothing of a later one, and nothing else is missing', () => {
  fc.assert(
    fc.property(known, (given) => {
      const rcpt = evidenceAt('rcpt', completeEvidence('data', given));
      for (const fact of factsByPath.values()) {
        const value = (rcpt as unknown as Record<string, Record<string, unknown>>)[fact.group]?.[fact.name];
        if (!fact.stages.includes('rcpt')) expect(value).toEqual(fact.neutral);
      }
      const { client, envelope } = completeEvidence('data', given);
      expect([rcpt.client, rcpt.envelope]).toEqual([client, envelope]);
    }),
  );
});
