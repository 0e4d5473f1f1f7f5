import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type Range, Scalar } from 'yaml';
import type { Problem } from './problem.ts';
import { didYouMean } from './problem.ts';
import type { ProblemCode } from './problem-codes.ts';

// A thousand rules fit four times over; the YAML parser is linear, but not free (128 KiB: about 100 ms).
export const maxSourceLength = 128 * 1024;
// A person corrects the first hundred and looks again.
const maxProblems = 100;

/** A place in the file: a YAML node (or none, where something is missing) and its path. */
export interface Place {
  readonly node: Node | null | undefined;
  readonly path: string;
  /** Where to point when there is no node. */
  readonly offset: number;
}

export interface Entry {
  readonly key: string;
  readonly keyPlace: Place;
  readonly value: Place;
}

type Complaint = {
  code: ProblemCode;
  found: string;
  expected: string;
  suggestion?: string;
  severity?: 'error' | 'warning';
};

/** One policy file being read: gives typed values from YAML nodes and collects every problem with its place. */
export class Source {
  readonly #text: string;
  readonly #lines = new LineCounter();
  readonly #problems: Problem[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  get problems(): readonly Problem[] {
    return this.#problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
  }

  get failed(): boolean {
    return this.#problems.some((problem) => problem.severity === 'error');
  }

  /** The root of the document, or undefined where it is too large or no YAML at all. */
  root(): Place | undefined {
    const place = { node: null, path: '', offset: 0 };
    if (this.#text.length > maxSourceLength) {
      const found = `${this.#text.length} characters`;
      this.report(place, { code: 'file-too-large', found, expected: `at most ${maxSourceLength}` });
      return undefined;
    }
    // prettyErrors would search the text again for each error: quadratic in a file made of errors.
    const document = parseDocument(this.#text, { lineCounter: this.#lines, prettyErrors: false, logLevel: 'silent' });
    for (const error of [...document.errors, ...document.warnings]) {
      const found = error.message.replace(/\s+/g, ' ').slice(0, 200);
      this.report({ ...place, offset: error.pos[0] }, { code: 'yaml', found, expected: 'YAML 1.2' });
    }
    return this.failed ? undefined : { ...place, node: document.contents as Node | null };
  }

  report(place: Place, complaint: Complaint, shift = 0): void {
    if (this.#problems.length >= maxProblems) return;
    const at = this.#lines.linePos(this.#offsetOf(place, shift));
    const { line, col } = at.line === 0 ? { line: 1, col: 1 } : at;
    const { severity = 'error', suggestion = '', code, found, expected } = complaint;
    this.#problems.push({ severity, code, line, column: col, path: place.path, found, expected, suggestion });
  }

  line(place: Place): number {
    return Math.max(1, this.#lines.linePos(this.#offsetOf(place, 0)).line);
  }

  /** The entries of a mapping; unknown keys are problems where `known` is given. */
  entries(place: Place, known?: readonly string[]): readonly Entry[] {
    if (!isMap(place.node)) {
      if (place.node !== null && place.node !== undefined) this.#expected(place, 'a mapping (key: value)');
      return [];
    }
    return place.node.items.flatMap((pair) => {
      const keyPlace = this.#at(pair.key as Node, place.path, place.offset);
      const key = this.text(keyPlace, 'a name');
      if (key === undefined) return [];
      const path = place.path === '' ? key : `${place.path}.${key}`;
      const entry = {
        key,
        keyPlace: { ...keyPlace, path },
        value: this.#at(pair.value as Node, path, this.#offsetOf(keyPlace, 0)),
      };
      if (known === undefined || known.includes(key)) return [entry];
      const expected = `one of ${known.join(', ')}`;
      this.report(entry.keyPlace, { code: 'unknown-key', found: key, expected, suggestion: didYouMean(key, known) });
      return [];
    });
  }

  /** The places of a sequence's items. */
  items(place: Place, maxItems: number): readonly Place[] {
    if (!isSeq(place.node)) {
      if (place.node !== null && place.node !== undefined) this.#expected(place, 'a list (- item)');
      return [];
    }
    const { items } = place.node;
    if (items.length > maxItems) {
      this.report(place, { code: 'too-many', found: `${items.length} items`, expected: `at most ${maxItems}` });
    }
    return items
      .slice(0, maxItems)
      .map((item, index) => this.#at(item as Node, `${place.path}[${index}]`, place.offset));
  }

  isSequence(place: Place): boolean {
    return isSeq(place.node);
  }

  isMapping(place: Place): boolean {
    return isMap(place.node);
  }

  /** The plain value of a scalar: text, number, boolean or null; undefined for anything else. */
  scalar(place: Place): unknown {
    return isScalar(place.node) ? place.node.value : undefined;
  }

  /** A scalar as text: numbers and booleans as they are written. Reports what is none. */
  text(place: Place, expected: string): string | undefined {
    const { node } = place;
    if (isScalar(node) && node.value !== null) {
      if (typeof node.value === 'string') return node.value;
      return node.source ?? JSON.stringify(node.value);
    }
    this.#expected(place, expected);
    return undefined;
  }

  /** One of a fixed set of words. */
  word<T extends string>(place: Place, words: readonly T[], code: ProblemCode = 'unknown-word'): T | undefined {
    const expected = `one of ${words.join(', ')}`;
    const found = this.text(place, expected);
    const word = words.find((candidate) => candidate === found);
    if (word === undefined && found !== undefined) {
      this.report(place, { code, found: shown(found), expected, suggestion: didYouMean(found, words) });
    }
    return word;
  }

  #at(node: Node | null | undefined, path: string, offset: number): Place {
    return { node, path, offset };
  }

  #expected(place: Place, expected: string): void {
    const { node } = place;
    // Following aliases would let a small file stand for an endless one.
    const alias: Complaint = {
      code: 'alias',
      found: 'an alias',
      expected: 'the thing itself; aliases are not followed',
    };
    this.report(place, isAlias(node) ? alias : { code: 'wrong-kind', found: kindOf(node), expected });
  }

  #offsetOf(place: Place, shift: number): number {
    const range = (place.node as { range?: Range | null } | null | undefined)?.range;
    if (range === undefined || range === null) return place.offset;
    return shift === 0 || !isScalar(place.node) ? range[0] : this.#inside(place.node, range, shift);
  }

  // Where the character `shift` of a scalar's value is in the file. Folding and indentation change white space only, so
  // the same number of other characters stands before it.
  #inside(node: Scalar, range: Range, shift: number): number {
    const value = String(node.value);
    const block = node.type === Scalar.BLOCK_FOLDED || node.type === Scalar.BLOCK_LITERAL;
    const quoted = node.type === Scalar.QUOTE_DOUBLE || node.type === Scalar.QUOTE_SINGLE;
    let offset = block ? this.#text.indexOf('\n', range[0]) + 1 : range[0] + (quoted ? 1 : 0);
    let before = value.slice(0, shift).replace(/\s/g, '').length;
    while (offset < range[1] && before > 0) {
      if (!/\s/.test(this.#text[offset] ?? '')) before -= 1;
      offset += 1;
    }
    // At the end of the value there is nothing more to point at.
    if (shift >= value.trimEnd().length) return offset;
    return offset + (/^\s*/.exec(this.#text.slice(offset, range[1]))?.[0].length ?? 0);
  }
}

function kindOf(node: Node | null | undefined): string {
  if (isMap(node)) return 'a mapping';
  if (isSeq(node)) return 'a list';
  return isScalar(node) && node.value !== null ? shown(node.source ?? JSON.stringify(node.value)) : 'nothing';
}

/** Text from the file as it may stand in a message: short, on one line. */
export function shown(text: string): string {
  const line = text.replace(/[\s\p{Cc}]+/gu, ' ');
  return line.length > 80 ? `"${line.slice(0, 77)}..."` : `"${line}"`;
}
