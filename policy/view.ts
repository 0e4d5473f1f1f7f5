import { factValue } from './complete-evidence.ts';
import { type Atom, type Condition, type Truth, truthOf } from './condition.ts';
import { certaintyOf, type Evidence, factsByPath } from './evidence.ts';
import type { NameList } from './name-list.ts';

/** The evidence as expressions see it, with what could not be found out set apart. */
export interface View {
  readonly evidence: Evidence;
  readonly context: Readonly<Record<string, unknown>>;
  /** The three-valued facts that are `unknown`. */
  readonly unknown: ReadonlySet<string>;
  /** The classes the sender may have: one, unless what tells them apart could not be found out. */
  readonly classes: readonly string[];
  /** What atoms came to, by their number: the same one often stands in many rules. */
  readonly asked: (Truth | undefined)[];
}

export interface NamedClass {
  readonly name: string;
  readonly when: Condition;
}

/** The class of a sender that fits no other. */
export const noClass = 'none';

const integers = [...factsByPath.values()].filter((fact) => fact.type === 'int');
const threeValued = [...factsByPath.values()].filter((fact) => certaintyOf(fact) === fact.path);

/** Prepares evidence for the expressions of one policy and finds the class. */
export function viewOf(
  evidence: Evidence,
  lists: Readonly<Record<string, NameList>>,
  classes: readonly NamedClass[],
): View {
  const context: Record<string, unknown> = { ...evidence, ...wholeNumbers(evidence), lists, class: noClass };
  const unknown = new Set(
    threeValued.filter((fact) => factValue(evidence, fact) === 'unknown').map((fact) => fact.path),
  );
  const undecided: View = { evidence, context, unknown, classes: [noClass], asked: [] };
  const possible = possibleClasses(undecided, classes);
  context['class'] = possible.length === 1 ? possible[0] : 'unknown';
  return { ...undecided, classes: possible };
}

// CEL integers are BigInt in the library; a number would be a double, which equals no integer.
function wholeNumbers(evidence: Evidence): Record<string, unknown> {
  const groups: Record<string, Record<string, unknown>> = {};
  for (const fact of integers) {
    const value = factValue(evidence, fact);
    const group = (groups[fact.group] ??= { ...evidence[fact.group] });
    group[fact.name] = typeof value === 'number' && Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n;
  }
  return groups;
}

function possibleClasses(view: View, classes: readonly NamedClass[]): readonly string[] {
  const possible: string[] = [];
  for (const { name, when } of classes) {
    const truth = truthOf(when, (atom) => askAtom(atom, view));
    if (truth !== false) possible.push(name);
    if (truth === true) return possible;
  }
  return [...possible, noClass];
}

/**
 * What an atom comes to for what is known. Unknown when it rests on a fact that could not be found out, or on the class
 * while more than one is possible and they disagree.
 */
export function askAtom(atom: Atom, view: View): Truth {
  const before = view.asked[atom.number];
  if (before !== undefined) return before;
  const truth = evaluateAtom(atom, view);
  view.asked[atom.number] = truth;
  return truth;
}

function evaluateAtom(atom: Atom, view: View): Truth {
  if (view.unknown.size > 0 && atom.restsOn.some((path) => view.unknown.has(path))) return 'unknown';
  if (!atom.readsClass || view.classes.length === 1) return atom.evaluate(view.context) === true;
  const [first, ...others] = view.classes.map((name) => atom.evaluate({ ...view.context, class: name }) === true);
  return others.every((truth) => truth === first) ? (first ?? 'unknown') : 'unknown';
}
