import { type Atom, atomsOf, type Condition, type Truth, truthOf } from './condition.ts';
import type { Stage } from './evidence.ts';
import type { PlacedClass } from './load-classes.ts';
import type { PlacedRule } from './load-rules.ts';
import type { Loader } from './loader.ts';
import type { Rule } from './policy.ts';
import { type NamedClass, noClass } from './view.ts';

/** What one rule means for the others, found without any evidence: rules that cannot match, and rules that would relay. */
export function checkRules(loader: Loader, rules: readonly PlacedRule[], classes: readonly PlacedClass[]): void {
  const whole = rules.filter(({ broken }) => !broken);
  for (const [index, placed] of whole.entries()) {
    checkReachable(loader, placed, whole.slice(0, index));
    checkRelay(loader, placed, classes);
  }
  // Of a file that is wrong anyway, these would only say the same again.
  if (loader.source.failed) return;
  for (const placed of whole) checkPossible(loader, placed, classes);
  checkClassesUsed(loader, rules, classes);
}

// An earlier rule hides a later one when it always decides whenever the later one would match, at the same stages.
function checkReachable(loader: Loader, { rule, place }: PlacedRule, before: readonly PlacedRule[]): void {
  const hidden = before.find(({ rule: earlier }) => decidesAlways(earlier) && covers(earlier, rule));
  if (hidden === undefined) return;
  const why = hidden.rule.when.kind === 'always' ? 'which always matches' : 'which matches whenever this one does';
  const found = `rule ${rule.id}, which no message reaches: rule ${hidden.rule.id} on line ${hidden.rule.line} comes first, ${why}`;
  loader.source.report(place, {
    code: 'unreachable',
    found,
    expected: 'a rule that can decide',
    suggestion: 'move it up or delete it',
  });
}

function decidesAlways(rule: Rule): boolean {
  return rule.mode === 'enforce' && rule.verdict !== undefined;
}

function covers(earlier: Rule, later: Rule): boolean {
  if (!later.stages.every((stage) => earlier.stages.includes(stage))) return false;
  if (earlier.when.kind === 'always') return true;
  const needed = conjuncts(earlier.when);
  const given = conjuncts(later.when);
  return needed.every((part) => given.includes(part));
}

// The parts that must all hold, each as text; the same text is the same condition.
function conjuncts(condition: Condition): readonly string[] {
  return condition.kind === 'all' ? condition.parts.flatMap(conjuncts) : [textOf(condition)];
}

function textOf(condition: Condition): string {
  switch (condition.kind) {
    case 'always':
      return 'true';
    case 'atom':
      return condition.atom.text;
    case 'not':
      return `!(${textOf(condition.part)})`;
    case 'all':
    case 'any':
      return `(${condition.parts.map(textOf).join(condition.kind === 'all' ? ' && ' : ' || ')})`;
    default:
      return `(${[condition.test, condition.yes, condition.no].map(textOf).join(' ? ')})`;
  }
}

function checkPossible(loader: Loader, { rule, place }: PlacedRule, classes: readonly NamedClass[]): void {
  const possible = rule.stages.some((stage) => assumed(rule.when, { stage }, classes) !== false);
  if (possible) return;
  const found = `rule ${rule.id}, whose condition is never true`;
  loader.source.report(place, {
    severity: 'warning',
    code: 'never-matches',
    found,
    expected: 'a condition that can be true',
  });
}

// A relay is open when someone who proved no identity can make it send: such a rule is refused even though the implied
// rule no-relay-for-strangers would stop it, because its author believes something else.
function checkRelay(loader: Loader, { rule, place }: PlacedRule, classes: readonly NamedClass[]): void {
  if (!rule.stages.includes('relay') || (rule.verdict !== 'accept' && rule.limit?.over !== 'accept')) return;
  if (assumed(rule.when, { stage: 'relay', verified: false }, classes) === false) return;
  const found = `rule ${rule.id}, which would relay for strangers`;
  const suggestion = 'begin the condition with identity.verified &&';
  loader.source.report(place, {
    code: 'open-relay',
    found,
    expected: 'a condition that only a verified identity meets',
    suggestion,
  });
}

interface Assumption {
  readonly stage: Stage;
  readonly verified?: boolean;
}

/** What a condition comes to when only this is known; unknown where it depends on anything else. */
function assumed(condition: Condition, assumption: Assumption, classes: readonly NamedClass[]): Truth {
  const { stage, verified } = assumption;
  const context = { stage, identity: { verified } };
  const possible = [...classes.filter(({ when }) => truthOf(when, ask) !== false).map(({ name }) => name), noClass];
  function ask(atom: Atom): Truth {
    const known = atom.facts.every((fact) => fact.path === 'identity.verified' && verified !== undefined);
    if (!known) return 'unknown';
    if (!atom.readsClass) return atom.evaluate(context) === true;
    const [first = 'unknown', ...others] = possible.map((name) => atom.evaluate({ ...context, class: name }) === true);
    return others.every((truth) => truth === first) ? first : 'unknown';
  }
  return truthOf(condition, ask);
}

// A class is used by a rule that asks for it or for a later one, and by any rule about who has no class.
function checkClassesUsed(loader: Loader, rules: readonly PlacedRule[], classes: readonly PlacedClass[]): void {
  const used = new Set(rules.flatMap(({ reading }) => reading?.classWords.map(({ word }) => word) ?? []));
  const otherwise = rules.some(({ rule }) =>
    atomsOf(rule.when).some((atom) => atom.readsClass && !mentions(atom, used)),
  );
  if (used.has(noClass) || otherwise) return;
  const lastUsed = classes.findLastIndex(({ name }) => used.has(name));
  for (const { name, keyPlace } of classes.slice(lastUsed + 1)) {
    const found = `class ${name}, which no rule asks for`;
    const expected = `a rule with class == "${name}"`;
    loader.source.report(keyPlace, { severity: 'warning', code: 'class-unused', found, expected });
  }
}

function mentions(atom: Atom, words: ReadonlySet<string>): boolean {
  return [...words].some((word) => atom.text.includes(`"${word}"`));
}
