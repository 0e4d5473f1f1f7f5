import { isMap, isSeq, parseDocument } from 'yaml';

export type Promoted =
  | { readonly kind: 'promoted'; readonly text: string }
  | { readonly kind: 'no-such-rule' }
  | { readonly kind: 'acts-already' };

/** The policy file without the `mode: shadow` of one rule; every other octet stays, comments and line ends included. */
export function withoutShadow(text: string, ruleId: string): Promoted {
  const rules = parseDocument(text).get('rules');
  const rule = isSeq(rules) ? rules.items.find((item) => isMap(item) && item.get('id') === ruleId) : undefined;
  if (!isMap(rule)) return { kind: 'no-such-rule' };
  const pair = rule.items.find(({ key }) => String(key) === 'mode');
  if (pair === undefined || rule.get('mode') !== 'shadow') return { kind: 'acts-already' };
  const [start] = rangeOf(pair.key);
  const [, end] = rangeOf(pair.value);
  if (rule.flow === true) return { kind: 'promoted', text: withoutItem(text, start, end) };
  const isFirst = rule.items[0] === pair;
  // A first key stands behind the dash: what follows it moves up to its place.
  if (isFirst) return { kind: 'promoted', text: text.slice(0, start) + text.slice(endOfLine(text, end)).trimStart() };
  return {
    kind: 'promoted',
    text: text.slice(0, text.lastIndexOf('\n', start) + 1) + text.slice(endOfLine(text, end)),
  };
}

/** In `{a: 1, mode: shadow, b: 2}`: with one of the commas. */
function withoutItem(text: string, start: number, end: number): string {
  const after = /^\s*,\s*/.exec(text.slice(end));
  if (after !== null) return text.slice(0, start) + text.slice(end + after[0].length);
  return text.slice(0, start).replace(/,\s*$/, '') + text.slice(end);
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end + 1;
}

function rangeOf(node: unknown): readonly [number, number] {
  const { range } = node as { range?: readonly [number, number, number] | null };
  if (range === undefined || range === null) throw new Error('a node of a parsed document has a range');
  return [range[0], range[1]];
}
