import { createHash } from 'node:crypto';
import { checkMildness } from './check-mildness.ts';
import { checkRules } from './check-rules.ts';
import { type Stage, stages } from './evidence.ts';
import { Expressions } from './expression.ts';
import { loadClasses } from './load-classes.ts';
import { checkExpectations } from './load-expect.ts';
import { loadLists } from './load-lists.ts';
import { loadRules } from './load-rules.ts';
import { Loader, type PolicyOwner } from './loader.ts';
import { type Policy, type Rule, verdictsAt } from './policy.ts';
import type { Problem } from './problem.ts';
import { type Entry, type Place, Source } from './source.ts';

export type Loaded =
  | { readonly kind: 'policy'; readonly policy: Policy; readonly warnings: readonly Problem[] }
  | { readonly kind: 'problems'; readonly problems: readonly Problem[] };

const keys = ['version', 'lists', 'classes', 'rules', 'default', 'expect'] as const;

/**
 * Reads a policy file. All problems at once, each with its line and column; a file with an error gives no policy. A recipient's speaks at
 * `notification` alone, and a rule of his without `stages:` is for that. Pure: the same text gives the same answer. Never throws.
 */
export function loadPolicy(text: string, whose: PolicyOwner = 'organisation'): Loaded {
  const source = new Source(text);
  const root = source.root();
  if (root === undefined) return { kind: 'problems', problems: source.problems };
  const sections = sectionsOf(source, root);
  if (sections === undefined) return { kind: 'problems', problems: source.problems };
  const section = (name: string): Place => sections.get(name)?.value ?? { node: null, path: name, offset: root.offset };

  checkVersion(source, root, sections.get('version'));
  const lists = loadLists(source, section('lists'));
  const loader = new Loader(source, new Expressions(lists), whose);
  const classes = loadClasses(loader, section('classes'));
  const rules = loadRules(loader, section('rules'), classes);
  checkRules(loader, rules, classes);
  if (whose === 'recipient') checkMildness(loader, rules);
  const fallback = sections.has('default') ? source.word(section('default'), loader.verdicts) : undefined;
  if (!sections.has('default')) {
    source.report(root, {
      code: 'missing',
      found: 'no default',
      expected: 'default: and a verdict',
      suggestion: 'default: accept',
    });
  }

  const policy: Policy = {
    version: 1,
    hash: createHash('sha256').update(text).digest('hex'),
    text,
    lists,
    classes,
    rules: rules.map(({ rule }) => rule),
    rulesAt: rulesByStage(rules.map(({ rule }) => rule)),
    default: fallback ?? 'defer',
  };
  if (whose === 'recipient' && fallback !== undefined && !verdictsAt.notification.includes(fallback)) {
    const expected = `one of ${verdictsAt.notification.join(', ')}`;
    source.report(section('default'), { code: 'verdict-not-there', found: `${fallback} at notification`, expected });
  }
  // A policy that is already wrong would fail its expectations for that reason only.
  const expectations = section('expect');
  checkExpectations(
    loader,
    expectations,
    source.failed ? undefined : policy,
    policy.rules.map((rule) => rule.id),
  );
  if (source.failed) return { kind: 'problems', problems: source.problems };
  return { kind: 'policy', policy, warnings: source.problems };
}

function sectionsOf(source: Source, root: Place): ReadonlyMap<string, Entry> | undefined {
  if (!source.isMapping(root)) {
    source.report(root, {
      code: 'wrong-kind',
      found: 'no mapping',
      expected: `a mapping with ${keys.join(', ')}`,
      suggestion: 'start with version: 1',
    });
    return undefined;
  }
  return new Map(source.entries(root, keys).map((entry) => [entry.key, entry]));
}

function checkVersion(source: Source, root: Place, entry: Entry | undefined): void {
  if (entry === undefined) {
    source.report(root, { code: 'missing', found: 'no version', expected: 'version: 1' });
  } else if (source.scalar(entry.value) !== 1) {
    const found = source.text(entry.value, 'version: 1');
    if (found !== undefined) source.report(entry.value, { code: 'version', found, expected: '1' });
  }
}

function rulesByStage(rules: readonly Rule[]): Readonly<Record<Stage, readonly Rule[]>> {
  const at = (stage: Stage): readonly Rule[] => rules.filter((rule) => rule.stages.includes(stage));
  return Object.fromEntries(stages.map((stage) => [stage, at(stage)])) as Record<Stage, readonly Rule[]>;
}
