import { expect, it } from 'vitest';
import { completeEvidence, ordinaryEvidence } from '../../policy/complete-evidence.ts';
import { decide, type TraceStep } from '../../policy/decide.ts';
import { decisionEvent } from '../../policy/decision-event.ts';
import type { Evidence, KnownEvidence } from '../../policy/evidence.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import { standardPolicy } from '../../policy/standard.ts';

function event(text: string, evidence: Evidence): ReturnType<typeof decisionEvent> {
  const loaded = loadPolicy(text);
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
  return decisionEvent(decide(loaded.policy, evidence, new Limits(), 0), evidence);
}

const stepsOf = ({ steps }: { steps: string }): TraceStep[] => JSON.parse(steps) as TraceStep[];
const bytesOf = (value: object): number => Buffer.byteLength(JSON.stringify(value));

it('a decision is written down with all that was known, and decided again it is the same', () => {
  const evidence = ordinaryEvidence('data', { dmarc: { result: 'fail', policy: 'reject' } });
  const written = event(standardPolicy, evidence);
  expect(written).toMatchObject({ verdict: 'reject', rule: 'dmarc-reject', stage: 'data' });
  expect(written.reply).toMatch(/^550 5\.7\.1 .*DMARC/);
  expect(completeEvidence('data', JSON.parse(written.evidence) as KnownEvidence)).toEqual(evidence);
  expect(stepsOf(written).at(-1)).toMatchObject({ rule: 'dmarc-reject', matched: 'yes' });
  expect(bytesOf(written)).toBeLessThan(8 * 1024);
});

it.for([100, 200])('of %d rules it is whole JSON, within what a trace takes, and says what decided', (count) => {
  const rules = Array.from(
    { length: count },
    (_, i) =>
      `  - id: rule-${i}\n    when: author.domain == "d${i}.example" || author.name.contains("${'x'.repeat(40)}${i}")\n    do: junk`,
  );
  const given: KnownEvidence = { author: { kind: 'single', domain: `d${count - 1}.example`, name: '"'.repeat(1_000) } };
  const written = event(`version: 1\nrules:\n${rules.join('\n')}\ndefault: accept\n`, ordinaryEvidence('data', given));
  expect(stepsOf(written).at(-1)).toMatchObject({ rule: `rule-${count - 1}`, matched: 'yes' });
  expect(bytesOf(written)).toBeLessThan(64 * 1024);
});

it('of a thousand recipients and signatures it is whole JSON, within what a trace takes', () => {
  const names = Array.from({ length: 1_000 }, (_, i) => `${'"'.repeat(100)}${i}@example.org`);
  const evidence = ordinaryEvidence('data', {
    envelope: { recipients: names, recipientCount: 1_000 },
    dkim: { domains: names },
  });
  const written = event(standardPolicy, evidence);
  expect(JSON.parse(written.evidence)).toMatchObject({ envelope: { recipientCount: 1_000 } });
  expect(bytesOf(written)).toBeLessThan(64 * 1024);
});
