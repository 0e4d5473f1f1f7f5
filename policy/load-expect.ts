import { isOfType, ordinaryEvidence } from './complete-evidence.ts';
import { type Decision, decide } from './decide.ts';
import { type Fact, facts, factsByPath, type KnownEvidence, type Stage, stages } from './evidence.ts';
import { explainRule } from './explain.ts';
import { Limits } from './limits.ts';
import type { Loader } from './loader.ts';
import { implied, type Policy } from './policy.ts';
import { didYouMean } from './problem.ts';
import { decideForRecipient } from './recipient.ts';
import { type Entry, type Place, type Source, shown } from './source.ts';

const keys = ['given', 'verdict', 'rule', 'class'] as const;
// Each costs one decision when the file is loaded.
const maxExpectations = 1000;

/**
 * The `expect:` section: what must come out of an ordinary message with these differences. Checked for form always and,
 * given a policy, by deciding.
 */
export function checkExpectations(
  loader: Loader,
  place: Place,
  policy: Policy | undefined,
  rules: readonly string[],
): void {
  const { source, usualStage } = loader;
  for (const item of source.items(place, maxExpectations)) {
    const entries = new Map(source.entries(item, keys).map((entry) => [entry.key, entry]));
    const verdict = entries.get('verdict');
    const wanted = {
      verdict: verdict && source.word(verdict.value, loader.verdicts),
      rule: ruleOf(source, entries.get('rule'), rules),
      class: textOf(source, entries.get('class')),
    };
    if (verdict === undefined)
      source.report(item, { code: 'missing', found: 'an expectation without verdict', expected: 'verdict:' });
    const { stage, known } = givenOf(source, entries.get('given'), usualStage);
    if (policy === undefined || source.failed) continue;
    const evidence = ordinaryEvidence(stage, known);
    const decideIt = stage === 'notification' ? decideForRecipient : decide;
    compare(source, item, wanted, decideIt(policy, evidence, new Limits(), 0));
  }
}

interface Wanted {
  readonly verdict: string | undefined;
  readonly rule: string | undefined;
  readonly class: string | undefined;
}

function compare(source: Source, place: Place, wanted: Wanted, decision: Decision): void {
  const fits =
    decision.verdict === wanted.verdict &&
    (wanted.rule === undefined || decision.rule === wanted.rule) &&
    (wanted.class === undefined || decision.class === wanted.class);
  if (fits) return;
  const words = (verdict: string, rule?: string, name?: string): string =>
    [verdict, rule && `by rule ${rule}`, name && `for class ${name}`].filter(Boolean).join(' ');
  const found = words(decision.verdict, decision.rule, wanted.class && decision.class);
  const expected = words(wanted.verdict ?? '', wanted.rule, wanted.class);
  const step = decision.trace.find(({ rule }) => rule === wanted.rule) ?? decision.trace.at(-1);
  source.report(place, { code: 'expectation-failed', found, expected, suggestion: step ? explainRule(step) : '' });
}

function ruleOf(source: Source, entry: Entry | undefined, rules: readonly string[]): string | undefined {
  const id = textOf(source, entry);
  const known = [...rules, ...Object.values(implied)];
  if (entry !== undefined && id !== undefined && !known.includes(id)) {
    source.report(entry.value, {
      code: 'unknown-rule',
      found: id,
      expected: 'the id of a rule',
      suggestion: didYouMean(id, known),
    });
  }
  return id;
}

function textOf(source: Source, entry: Entry | undefined): string | undefined {
  return entry && source.text(entry.value, 'a name');
}

function givenOf(source: Source, entry: Entry | undefined, usualStage: Stage): { stage: Stage; known: KnownEvidence } {
  const known: Record<string, Record<string, unknown>> = {};
  let stage = usualStage;
  if (entry === undefined) return { stage, known: known };
  for (const { key, value } of source.entries(entry.value, ['stage', ...Object.keys(facts)])) {
    if (key === 'stage') stage = source.word(value, stages) ?? stage;
    else known[key] = groupOf(source, value, key);
  }
  return { stage, known: known };
}

function groupOf(source: Source, place: Place, group: string): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  const members = Object.keys(facts[group as keyof typeof facts]);
  for (const { key, value } of source.entries(place, members)) {
    const fact = factsByPath.get(`${group}.${key}`);
    const given = fact && valueOf(source, value, fact);
    if (given !== undefined) values[key] = given;
  }
  return values;
}

function valueOf(source: Source, place: Place, fact: Fact): unknown {
  const given = source.isSequence(place)
    ? source.items(place, 1000).map((item) => source.scalar(item))
    : source.scalar(place);
  if (isOfType(fact, given)) return given;
  const expected = fact.values === undefined ? `a value of type ${fact.type}` : `one of ${fact.values.join(', ')}`;
  const suggestion = typeof given === 'string' && fact.values ? didYouMean(given, fact.values) : '';
  source.report(place, {
    code: 'unknown-value',
    found: shown(typeof given === 'string' ? given : JSON.stringify(given ?? null)),
    expected,
    suggestion,
  });
  return undefined;
}
