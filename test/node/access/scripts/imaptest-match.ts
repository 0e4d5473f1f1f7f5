import type { Value } from './imap-values.ts';

/** Variables of a script, by name. Undefined ones take the value that the reply has in their place. */
export type Variables = Map<string, Value>;

type Rule = { readonly order: 'ordered' | 'unordered' | 'pairs'; readonly extra: boolean };

const reference = /\$(?:\{([^}]*)\}|([a-z_][a-z0-9_]*))/gi;

/** Whether the reply is the one expected; then, and only then, the variables it names are set. `original` gives the number before expunges. */
export function matchesReply(
  expected: readonly Value[],
  actual: readonly Value[],
  variables: Variables,
  original: number | undefined,
): boolean {
  const trial: Variables = new Map(variables);
  const name = wordAt(expected, /^(\d+|\$\d+)$/.test(wordAt(expected, 0)) ? 1 : 0);
  // The text after a response code is for people.
  const free = ['ok', 'no', 'bad', 'bye', 'preauth'].includes(name);
  if (expected.length !== actual.length && !(free && expected.length < actual.length)) return false;
  const matched = expected.every((want, index) => {
    const got = actual[index]!;
    if (index === 0 && want.kind === 'atom' && /^\$\d+$/.test(want.text))
      return original !== undefined && original === Number(want.text.slice(1));
    return matches(want, got, trial, ruleFor(name, index));
  });
  if (!matched) return false;
  for (const [key, value] of trial) variables.set(key, value);
  return true;
}

function wordAt(values: readonly Value[], index: number): string {
  const value = values[index];
  return value?.kind === 'atom' ? value.text.toLowerCase() : '';
}

/** The scripts' README: which lists have no order, and which take more than is asked for. */
function ruleFor(name: string, index: number): Rule {
  if (name === 'fetch' && index === 2) return { order: 'pairs', extra: true };
  if ((name === 'list' || name === 'lsub') && index === 1) return { order: 'unordered', extra: true };
  if (name === 'flags' && index === 1) return { order: 'unordered', extra: true };
  if (name === 'status' && index === 2) return { order: 'pairs', extra: true };
  return ordered;
}

const ordered: Rule = { order: 'ordered', extra: false };

function matches(want: Value, got: Value, variables: Variables, rule: Rule): boolean {
  if (want.kind === 'list') return got.kind === 'list' && matchesList(want.items, got.items, variables, rule);
  if (want.kind === 'atom' && want.text === '$') return true;
  const lone = want.kind === 'atom' ? /^\$(?:\{([^}]*)\}|([a-z_][a-z0-9_]*))$/i.exec(want.text) : null;
  const name = lone?.[1] ?? lone?.[2];
  if (name !== undefined && !name.startsWith('case:')) {
    const known = variables.get(name);
    if (known === undefined) {
      variables.set(name, got);
      return true;
    }
    return sameValue(known, got);
  }
  if (got.kind === 'list') return false;
  // NIL is not "NIL".
  if (isNil(want) !== isNil(got)) return false;
  const caseSensitive = want.text.includes('${case:');
  const text = expand(want.text, variables);
  return caseSensitive ? text === got.text : text.toLowerCase() === got.text.toLowerCase();
}

function isNil(value: Value): boolean {
  return value.kind === 'atom' && value.text.toLowerCase() === 'nil';
}

function sameValue(a: Value, b: Value): boolean {
  if (a.kind === 'list' || b.kind === 'list') {
    return (
      a.kind === 'list' &&
      b.kind === 'list' &&
      a.items.length === b.items.length &&
      a.items.every((item, index) => sameValue(item, b.items[index]!))
    );
  }
  return isNil(a) === isNil(b) && a.text.toLowerCase() === b.text.toLowerCase();
}

function matchesList(all: readonly Value[], got: readonly Value[], variables: Variables, given: Rule): boolean {
  const directives = all.flatMap((value) =>
    value.kind === 'atom' && value.text.startsWith('$!') ? [value.text.slice(2).toLowerCase()] : [],
  );
  const want = all.filter((value) => value.kind !== 'atom' || !value.text.startsWith('$!'));
  const order = directives.includes('unordered')
    ? 'unordered'
    : directives.includes('ordered')
      ? 'ordered'
      : given.order;
  const extra =
    directives.includes('extra') || (!directives.includes('noextra') && (given.extra || order !== given.order));
  const banned = directives.filter((text) => text.startsWith('ban=')).map((text) => text.slice(4));
  if (got.some((value) => value.kind === 'atom' && banned.includes(value.text.toLowerCase()))) return false;
  switch (order) {
    case 'unordered':
      return unordered(
        want.map((value) => [value]),
        got.map((value) => [value]),
        variables,
        extra,
      );
    case 'pairs':
      return unordered(pairs(want), pairs(got), variables, extra);
    default:
      return (
        want.length === got.length && want.every((value, index) => matches(value, got[index]!, variables, ordered))
      );
  }
}

function pairs(values: readonly Value[]): Value[][] {
  return values.flatMap((_, index) => (index % 2 === 0 ? [values.slice(index, index + 2)] : []));
}

function unordered(want: readonly Value[][], got: readonly Value[][], variables: Variables, extra: boolean): boolean {
  const left = [...got];
  for (const group of want) {
    const place = left.findIndex(
      (candidate) =>
        candidate.length === group.length &&
        group.every((value, index) => matches(value, candidate[index]!, variables, itemRule(group, index))),
    );
    if (place === -1) return false;
    left.splice(place, 1);
  }
  return extra || left.every(([value]) => value?.kind === 'atom' && value.text.toLowerCase() === '\\recent');
}

/** Within FETCH, FLAGS have no order, and may not be more than those named; of MODSEQ and the like all counts. */
function itemRule(group: readonly Value[], index: number): Rule {
  return index === 1 && wordAt(group, 0) === 'flags' ? { order: 'unordered', extra: false } : ordered;
}

/** Puts in what variables stand for; `$$` is a `$`. Throws for one that no reply has set. */
export function expand(text: string, variables: Variables): string {
  return text
    .split('$$')
    .map((part) =>
      part.replace(reference, (_, braced: string | undefined, bare: string | undefined) => {
        const name = braced ?? bare ?? '';
        if (name.startsWith('case:')) return name.slice(5);
        const value = variables.get(name);
        if (value === undefined) throw new Error(`the variable ${name} has no value`);
        return value.kind === 'list' ? '' : value.text;
      }),
    )
    .join('$');
}
