import type { Fact } from './evidence.ts';

/** What a condition comes to. `unknown`: it would depend on something that could not be found out. */
export type Truth = boolean | 'unknown';

/** The smallest part of a condition that is true or false by itself, such as `dmarc.result == "fail"`. */
export interface Atom {
  /** Counts the atoms of one policy from 0. */
  readonly number: number;
  readonly text: string;
  readonly facts: readonly Fact[];
  readonly readsClass: boolean;
  readonly readsStage: boolean;
  /** Three-valued facts that this atom rests on without naming their `unknown`. */
  readonly restsOn: readonly string[];
  /** Three-valued facts whose `unknown` this atom asks for by name. */
  readonly names: readonly string[];
  readonly evaluate: (context: Readonly<Record<string, unknown>>) => unknown;
}

/** A boolean expression, taken apart at its connectives so that each atom can be unknown and can be shown. */
export type Condition =
  | { readonly kind: 'always' }
  | { readonly kind: 'atom'; readonly atom: Atom }
  | { readonly kind: 'not'; readonly part: Condition }
  | { readonly kind: 'all' | 'any'; readonly parts: readonly Condition[] }
  | { readonly kind: 'choice'; readonly test: Condition; readonly yes: Condition; readonly no: Condition };

/** Kleene's logic: unknown only where the known parts do not settle it. */
export function truthOf(condition: Condition, ask: (atom: Atom) => Truth): Truth {
  switch (condition.kind) {
    case 'always':
      return true;
    case 'atom':
      return ask(condition.atom);
    case 'not':
      return negated(truthOf(condition.part, ask));
    case 'all':
      return settledBy(false, condition.parts, ask);
    case 'any':
      return settledBy(true, condition.parts, ask);
    default:
      return chosen(condition, ask);
  }
}

function negated(truth: Truth): Truth {
  return truth === 'unknown' ? 'unknown' : !truth;
}

function settledBy(settling: boolean, parts: readonly Condition[], ask: (atom: Atom) => Truth): Truth {
  let result: Truth = !settling;
  for (const part of parts) {
    const truth = truthOf(part, ask);
    if (truth === settling) return settling;
    if (truth === 'unknown') result = 'unknown';
  }
  return result;
}

function chosen(choice: Condition & { kind: 'choice' }, ask: (atom: Atom) => Truth): Truth {
  const test = truthOf(choice.test, ask);
  if (test !== 'unknown') return truthOf(test ? choice.yes : choice.no, ask);
  const yes = truthOf(choice.yes, ask);
  return yes === truthOf(choice.no, ask) ? yes : 'unknown';
}

/** The atoms that make the condition come to what it comes to: the first that fails, or all that hold together. */
export function reasonsFor(condition: Condition, ask: (atom: Atom) => Truth): readonly Atom[] {
  switch (condition.kind) {
    case 'always':
      return [];
    case 'atom':
      return [condition.atom];
    case 'not':
      return reasonsFor(condition.part, ask);
    case 'all':
      return decisive(false, condition.parts, ask);
    case 'any':
      return decisive(true, condition.parts, ask);
    default: {
      const test = truthOf(condition.test, ask);
      const branch = test === 'unknown' ? [] : reasonsFor(test ? condition.yes : condition.no, ask);
      return [...reasonsFor(condition.test, ask), ...branch];
    }
  }
}

// The first part that settles it; else those that leave it open; else all, because all together settle it.
function decisive(settling: boolean, parts: readonly Condition[], ask: (atom: Atom) => Truth): readonly Atom[] {
  let open: Condition[] | undefined;
  for (const part of parts) {
    const truth = truthOf(part, ask);
    if (truth === settling) return reasonsFor(part, ask);
    if (truth === 'unknown') (open ??= []).push(part);
  }
  return (open ?? parts).flatMap((part) => reasonsFor(part, ask));
}

/** All atoms of a condition. */
export function atomsOf(condition: Condition): readonly Atom[] {
  switch (condition.kind) {
    case 'always':
      return [];
    case 'atom':
      return [condition.atom];
    case 'not':
      return atomsOf(condition.part);
    case 'all':
    case 'any':
      return condition.parts.flatMap(atomsOf);
    default:
      return [condition.test, condition.yes, condition.no].flatMap(atomsOf);
  }
}
