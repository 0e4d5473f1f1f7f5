import { type Evidence, type Fact, factsByPath, type Group, type KnownEvidence, type Stage } from './evidence.ts';

export type FactValue = string | number | boolean | readonly string[];

// Evidence is stored with every decision and read in every expression: what a stranger can make long is cut here.
const maxTextLength = 1024;
// The most recipients an envelope may have is 100 (RFC 9422 limit we announce); ten times that is room for relay.
const maxListLength = 1000;

type Loose = Record<string, Record<string, FactValue>>;

/**
 * The full evidence for one stage from what is known. A fact that this stage should know and that was not given is
 * `unknown` where it can be, and neutral otherwise; a fact of a later stage is neutral ("none", "", 0).
 */
export function completeEvidence(stage: Stage, known: KnownEvidence): Evidence {
  return fill(stage, known, (fact) => absent(stage, fact));
}

const absent = (stage: Stage, fact: Fact): FactValue =>
  fact.stages.includes(stage) && fact.values?.includes('unknown') ? 'unknown' : fact.neutral;

/** What of the evidence has to be kept, so that {@link completeEvidence} makes the same of it again: a third of it, for most messages. */
export function compactEvidence(evidence: Evidence): KnownEvidence {
  const groups: Loose = {};
  for (const fact of factsByPath.values()) {
    const value = factValue(evidence, fact);
    if (isOfType(fact, value) && !isSame(value, absent(evidence.stage, fact)))
      (groups[fact.group] ??= {})[fact.name] = value;
  }
  return groups;
}

/** The evidence as it was known at an earlier stage of the same session. */
export function evidenceAt(stage: Stage, evidence: Evidence): Evidence {
  const groups: Loose = {};
  for (const fact of factsByPath.values()) {
    const value = factValue(evidence, fact);
    if (fact.stages.includes(stage) && isOfType(fact, value)) (groups[fact.group] ??= {})[fact.name] = value;
  }
  return completeEvidence(stage, groups);
}

function isSame(one: FactValue, other: FactValue): boolean {
  if (typeof one !== 'object' || typeof other !== 'object') return one === other;
  return one.length === other.length && one.every((item, index) => item === other[index]);
}

/** The evidence an expectation means: what it says, laid over an ordinary, unremarkable message at that stage. */
export function ordinaryEvidence(stage: Stage, given: KnownEvidence): Evidence {
  return fill(stage, given, (fact) =>
    fact.stages.includes(stage) && fact.ordinary !== undefined ? fact.ordinary : fact.neutral,
  );
}

function fill(stage: Stage, known: KnownEvidence, otherwise: (fact: Fact) => FactValue): Evidence {
  const groups: Loose = {};
  for (const fact of factsByPath.values()) {
    const group = (groups[fact.group] ??= {});
    const value = factValue(known, fact);
    group[fact.name] = isOfType(fact, value) ? bounded(value) : otherwise(fact);
  }
  return { stage, ...groups } as unknown as Evidence;
}

/** The value of a fact in evidence, or undefined where the evidence lacks it. */
export function factValue(evidence: KnownEvidence | Evidence, fact: { group: Group; name: string }): unknown {
  const group = evidence[fact.group] as Readonly<Record<string, unknown>> | undefined;
  return group?.[fact.name];
}

/** Whether `value` may stand for `fact`: its type, and one of its values where it has a fixed set. */
export function isOfType(fact: Fact, value: unknown): value is FactValue {
  switch (fact.type) {
    case 'string':
      return typeof value === 'string' && (fact.values === undefined || fact.values.includes(value));
    case 'int':
      return Number.isSafeInteger(value);
    case 'bool':
      return typeof value === 'boolean';
    default:
      return Array.isArray(value) && value.every((item) => typeof item === 'string');
  }
}

function bounded(value: FactValue): FactValue {
  if (typeof value === 'string') return value.slice(0, maxTextLength);
  if (typeof value === 'object') return value.slice(0, maxListLength).map((item) => item.slice(0, maxTextLength));
  return value;
}
