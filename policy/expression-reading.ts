import type { ASTNode } from '@marcbachmann/cel-js';
import { serialize } from '@marcbachmann/cel-js/serialize';
import { certaintyOf, type Fact, facts, factsByPath, stages } from './evidence.ts';
import { didYouMean } from './problem.ts';
import type { ProblemCode } from './problem-codes.ts';

/** Something wrong in an expression; `at` is the offset in its text. */
export interface Trouble {
  readonly code: ProblemCode;
  readonly at: number;
  readonly found: string;
  readonly expected: string;
  readonly suggestion: string;
}

/** What an expression reads, and what is wrong with the names and constructs in it. */
export interface Reading {
  readonly facts: readonly Fact[];
  readonly lists: readonly string[];
  readonly readsClass: boolean;
  readonly readsStage: boolean;
  /** Words the class is compared with, and where. */
  readonly classWords: readonly { readonly word: string; readonly at: number }[];
  readonly restsOn: readonly string[];
  readonly names: readonly string[];
  readonly troubles: readonly Trouble[];
}

// Everything here is total and linear. Left out on purpose: matches (backtracking), / and % (can fail), indexing (can
// fail), conversions (can fail), time and time zones (depend on the machine), map and filter (build lists).
const operators = new Set(
  ['value', 'id', '.', 'list', '==', '!=', 'in', '<', '<=', '>', '>=', '+', '-', '&&', '||', '!_', '-_', '?:'].concat([
    'call',
    'rcall',
  ]),
);
const functions = new Set(['size', 'startsWith', 'endsWith', 'contains', 'lowerAscii', 'exists', 'all', 'exists_one']);
const loops = new Set(['exists', 'all', 'exists_one']);
const roots = [...Object.keys(facts), 'lists', 'stage', 'class'];

/** Reads a parsed expression: every unknown name is found at once, not just the first. */
export function readingOf(ast: ASTNode, lists: readonly string[]): Reading {
  const reader = new Reader(lists);
  reader.read(ast, []);
  return reader.result();
}

/** The expression as text again. */
export function sourceOf(ast: ASTNode): string {
  return serialize(ast);
}

/** Whether two expressions are the same tree. */
export function sameStructure(a: ASTNode, b: ASTNode): boolean {
  return shapeOf(a) === shapeOf(b);
}

// The library's own toOldStructure() runs in circles once an expression with a loop is type-checked.
function shapeOf(node: ASTNode): string {
  const parts = childrenOf(node).map(shapeOf).join(' ');
  return `(${node.op} ${JSON.stringify(wordOf(node))} ${parts})`;
}

function wordOf(node: ASTNode): string {
  switch (node.op) {
    case 'value':
      return `${typeof node.args} ${String(node.args)}`;
    case 'id':
      return node.args;
    case '.':
      return node.args[1];
    case 'call':
    case 'rcall':
      return node.args[0];
    default:
      return '';
  }
}

class Reader {
  readonly #known: readonly string[];
  readonly #facts = new Map<string, Fact>();
  readonly #lists = new Set<string>();
  readonly #names = new Set<string>();
  readonly #classWords: { word: string; at: number }[] = [];
  readonly #troubles: Trouble[] = [];
  #readsClass = false;
  #readsStage = false;

  constructor(lists: readonly string[]) {
    this.#known = lists;
  }

  result(): Reading {
    const read = [...this.#facts.values()];
    const certainties = new Set(read.map(certaintyOf).filter((path) => path !== undefined));
    return {
      facts: read,
      lists: [...this.#lists],
      readsClass: this.#readsClass,
      readsStage: this.#readsStage,
      classWords: this.#classWords,
      restsOn: [...certainties].filter((path) => !this.#names.has(path)),
      names: [...this.#names],
      troubles: this.#troubles,
    };
  }

  read(node: ASTNode, scope: readonly string[]): void {
    if (!operators.has(node.op)) {
      this.#refuse(node, `the operator ${node.op.replace('_', '')}`, 'comparisons, in, &&, ||, !, + and -');
      return;
    }
    switch (node.op) {
      case 'value':
        return this.#literal(node);
      case 'id':
        return this.#name(node, node.args, scope);
      case '.':
        return this.#member(node, scope);
      case 'call':
      case 'rcall':
        return this.#call(node, scope);
      default:
        this.#compared(node);
        for (const part of childrenOf(node)) this.read(part, scope);
    }
  }

  #literal(node: ASTNode & { op: 'value' }): void {
    if (!['string', 'bigint', 'boolean'].includes(typeof node.args)) {
      this.#refuse(node, 'a value of a kind that no fact has', 'a "text", a whole number, true or false');
    }
  }

  #name(node: ASTNode, name: string, scope: readonly string[]): void {
    if (scope.includes(name)) return;
    if (name === 'class') this.#readsClass = true;
    else if (name === 'stage') this.#readsStage = true;
    else if (name === 'lists' || Object.hasOwn(facts, name)) {
      const members = name === 'lists' ? this.#known : Object.keys(facts[name as keyof typeof facts]);
      this.#trouble(
        'unknown-name',
        node,
        name,
        `one of its facts: ${members.map((m) => `${name}.${m}`).join(', ')}`,
        '',
      );
    } else
      this.#trouble('unknown-name', node, name, 'a name of the evidence', didYouMean(name, roots, suggested(name)));
  }

  #member(node: ASTNode & { op: '.' }, scope: readonly string[]): void {
    const [object, name] = node.args;
    if (object.op !== 'id' || scope.includes(object.args)) {
      this.#refuse(node, `.${name}`, 'a fact such as dmarc.result');
      return;
    }
    const path = `${object.args}.${name}`;
    const fact = factsByPath.get(path);
    if (fact !== undefined) this.#facts.set(path, fact);
    else if (object.args === 'lists') this.#list(node, name);
    else if (Object.hasOwn(facts, object.args)) {
      const members = Object.keys(facts[object.args as keyof typeof facts]).map((member) => `${object.args}.${member}`);
      this.#trouble('unknown-name', node, path, `one of ${members.join(', ')}`, didYouMean(path, members));
    } else this.#name(object, object.args, scope);
  }

  #list(node: ASTNode, name: string): void {
    if (this.#known.includes(name)) this.#lists.add(name);
    else
      this.#trouble(
        'unknown-list',
        node,
        `lists.${name}`,
        'a list from this file',
        didYouMean(name, this.#known, 'add it under lists:'),
      );
  }

  #call(node: ASTNode & { op: 'call' | 'rcall' }, scope: readonly string[]): void {
    const name = node.args[0];
    if (!functions.has(name)) {
      const known = [...functions];
      const suggestion = name === 'matches' ? 'use startsWith, endsWith, contains or a list' : didYouMean(name, known);
      this.#trouble('unknown-function', node, `${name}()`, `one of ${known.join(', ')}`, suggestion);
      return;
    }
    const inner = loops.has(name) && node.op === 'rcall' ? this.#loopScope(node, scope) : scope;
    for (const part of childrenOf(node)) this.read(part, inner);
  }

  #loopScope(node: ASTNode & { op: 'rcall' }, scope: readonly string[]): readonly string[] {
    if (scope.length > 0)
      this.#trouble('nested-loop', node, 'a loop inside a loop', 'one loop, so that work stays bounded', '');
    const variable = node.args[2][0];
    return variable?.op === 'id' ? [...scope, variable.args] : scope;
  }

  // A fact compared with fixed words: each must be one that the fact can have, and "unknown" is asked for by name.
  #compared(node: ASTNode): void {
    if (node.op !== '==' && node.op !== '!=' && node.op !== 'in') return;
    const [left, right] = node.args;
    const subject = left.op === 'value' ? right : left;
    const words = wordsOf(left.op === 'value' ? left : right);
    const path = pathOf(subject);
    if (path === 'class') this.#classWords.push(...words);
    const values: readonly string[] | undefined = path === 'stage' ? stages : factsByPath.get(path ?? '')?.values;
    if (path === undefined || values === undefined) return;
    for (const { word, at } of words) {
      if (word === 'unknown') this.#names.add(path);
      if (values.includes(word)) continue;
      const expected = `one of ${values.map((value) => `"${value}"`).join(', ')}`;
      this.#troubles.push({
        code: 'unknown-value',
        at,
        found: `"${word}"`,
        expected,
        suggestion: didYouMean(word, values),
      });
    }
  }

  #refuse(node: ASTNode, found: string, expected: string): void {
    this.#trouble('not-in-the-language', node, found, expected, '');
  }

  #trouble(code: ProblemCode, node: ASTNode, found: string, expected: string, suggestion: string): void {
    this.#troubles.push({ code, at: node.start, found, expected, suggestion });
  }
}

function childrenOf(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case 'call':
      return node.args[1];
    case 'rcall':
      return [node.args[1], ...node.args[2]];
    case '!_':
    case '-_':
      return [node.args];
    default:
      return Array.isArray(node.args) ? (node.args as unknown[]).filter(isNode) : [];
  }
}

function isNode(part: unknown): part is ASTNode {
  return typeof part === 'object' && part !== null && 'op' in part;
}

function pathOf(node: ASTNode): string | undefined {
  if (node.op === 'id') return node.args;
  return node.op === '.' && node.args[0].op === 'id' ? `${node.args[0].args}.${node.args[1]}` : undefined;
}

function wordsOf(node: ASTNode): { word: string; at: number }[] {
  const literals = node.op === 'list' ? node.args : [node];
  return literals.flatMap((item) =>
    item.op === 'value' && typeof item.args === 'string' ? [{ word: item.args, at: item.start }] : [],
  );
}

function suggested(name: string): string {
  const fact = [...factsByPath.values()].find((candidate) => candidate.name === name);
  if (fact !== undefined) return `did you mean ${fact.path}?`;
  return `if it is a text, write "${name}"`;
}
