import { type ASTNode, type TypeError as CelTypeError, Environment, type ParseError } from '@marcbachmann/cel-js';
import { type Atom, atomsOf, type Condition } from './condition.ts';
import { type Fact, facts } from './evidence.ts';
import { direct } from './expression-direct.ts';
import { type Reading, readingOf, sameStructure, sourceOf, type Trouble } from './expression-reading.ts';
import { NameList } from './name-list.ts';

/** An expression that gives a value, as a limit's key. */
export interface ValueExpression {
  readonly text: string;
  readonly facts: readonly Fact[];
  readonly restsOn: readonly string[];
  readonly evaluate: Atom['evaluate'];
}

export type Compiled<T> =
  | { readonly kind: 'compiled'; readonly value: T; readonly reading: Reading }
  | { readonly kind: 'troubles'; readonly troubles: readonly Trouble[] };

// A condition a person can still read; it also bounds the work of one decision.
const maxLength = 2000;
const limits = { maxAstNodes: 500, maxDepth: 32, maxListElements: 200, maxMapEntries: 1, maxCallArguments: 4 };

/**
 * Compiles the CEL expressions of one policy. The language is CEL without what can fail, take unbounded time or depend
 * on the machine: no regular expressions, division, indexing, conversion or time (see README.md).
 */
export class Expressions {
  readonly #environment: Environment;
  readonly #lists: Readonly<Record<string, NameList>>;
  // One atom for one text, so that a decision asks each only once.
  readonly #atoms = new Map<string, Atom>();

  constructor(lists: Readonly<Record<string, NameList>>) {
    this.#lists = lists;
    this.#environment = declare(Object.keys(lists));
  }

  condition(text: string): Compiled<Condition> {
    const checked = this.#check(text, ['bool'], 'a condition (true or false)');
    if (checked.kind === 'troubles') return checked;
    return this.#guard(() => ({ kind: 'compiled', value: this.#split(checked.ast), reading: checked.reading }));
  }

  value(text: string, types: readonly string[]): Compiled<ValueExpression> {
    const checked = this.#check(text, types, `a value of type ${types.join(' or ')}`);
    if (checked.kind === 'troubles') return checked;
    return this.#guard(() => ({ kind: 'compiled', value: this.#atom(checked.ast), reading: checked.reading }));
  }

  #check(text: string, types: readonly string[], expected: string) {
    if (text.length > maxLength) {
      const found = `${text.length} characters`;
      return troubled([
        { code: 'expression-too-long', at: 0, found, expected: `at most ${maxLength}`, suggestion: 'use a list' },
      ]);
    }
    return this.#guard(() => this.#parse(text, types, expected));
  }

  // The library throws what is wrong with an expression; here it is an answer.
  #guard<T>(compile: () => T) {
    try {
      return compile();
    } catch (error) {
      return troubled([troubleOf(error as ParseError, 'syntax')]);
    }
  }

  #parse(text: string, types: readonly string[], expected: string) {
    const parsed = this.#environment.parse(text);
    const reading = readingOf(parsed.ast, Object.keys(this.#lists));
    if (reading.troubles.length > 0) return troubled(reading.troubles);
    const result = parsed.check();
    if (!result.valid) return troubled([troubleOf(result.error as CelTypeError, 'type')]);
    if (!types.includes(result.type ?? '')) {
      return troubled([
        {
          code: 'type',
          at: 0,
          found: `a value of type ${result.type}`,
          expected,
          suggestion: types.includes('bool') && types.length === 1 ? 'compare it with a value' : '',
        },
      ]);
    }
    return { kind: 'checked', ast: parsed.ast, reading } as const;
  }

  #split(ast: ASTNode): Condition {
    switch (ast.op) {
      case '&&':
        return { kind: 'all', parts: this.#flat('&&', ast) };
      case '||':
        return { kind: 'any', parts: this.#flat('||', ast) };
      case '!_':
        return { kind: 'not', part: this.#split(ast.args) };
      case '?:': {
        const [test, yes, no] = ast.args;
        return { kind: 'choice', test: this.#split(test), yes: this.#split(yes), no: this.#split(no) };
      }
      case 'value':
        return ast.args === true ? { kind: 'always' } : { kind: 'not', part: { kind: 'always' } };
      default:
        return { kind: 'atom', atom: this.#atom(ast) };
    }
  }

  #flat(op: '&&' | '||', ast: ASTNode): readonly Condition[] {
    if (ast.op !== op) return [this.#split(ast)];
    return [...this.#flat(op, ast.args[0]), ...this.#flat(op, ast.args[1])];
  }

  // Each atom is parsed again from its own text, because the library evaluates whole expressions only.
  #atom(ast: ASTNode): Atom {
    const text = sourceOf(ast);
    const before = this.#atoms.get(text);
    if (before !== undefined) return before;
    const parsed = this.#environment.parse(text);
    if (!sameStructure(ast, parsed.ast)) throw new Error(`the expression ${text} reads back differently`);
    const reading = readingOf(parsed.ast, Object.keys(this.#lists));
    parsed.check();
    const { readsClass, readsStage, names } = reading;
    // Nothing is in an empty list, whatever it is.
    const restsOn = this.#asksEmptyList(parsed.ast) ? [] : reading.restsOn;
    const atom = {
      number: this.#atoms.size,
      text,
      facts: reading.facts,
      readsClass,
      readsStage,
      restsOn,
      names,
      evaluate: direct(parsed.ast) ?? parsed,
    };
    this.#atoms.set(text, atom);
    return atom;
  }

  #asksEmptyList(ast: ASTNode): boolean {
    if (ast.op !== 'in') return false;
    const list = ast.args[1];
    return list.op === '.' && sourceOf(list.args[0]) === 'lists' && this.#lists[list.args[1]]?.size === 0;
  }
}

function declare(lists: readonly string[]): Environment {
  const environment = new Environment({ limits });
  environment.registerType('NameList', NameList);
  environment.registerOperator('string in NameList', (name: string, list: NameList) => list.has(name));
  environment.registerVariable('stage', 'string').registerVariable('class', 'string');
  environment.registerVariable('lists', { schema: Object.fromEntries(lists.map((name) => [name, 'NameList'])) });
  for (const [group, rows] of Object.entries(facts)) {
    const schema = Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, row.type]));
    environment.registerVariable(group, { schema });
  }
  return environment;
}

function troubled(troubles: readonly Trouble[]): { readonly kind: 'troubles'; readonly troubles: readonly Trouble[] } {
  return { kind: 'troubles', troubles };
}

function troubleOf(error: ParseError | CelTypeError | Error, code: 'syntax' | 'type'): Trouble {
  const summary = ('summary' in error ? error.summary : error.message).toLowerCase();
  const found = code === 'syntax' ? `a syntax error (${summary})` : summary.replace('no such overload: ', '');
  const at = ('range' in error ? error.range?.start : undefined) ?? 0;
  const expected = code === 'type' ? 'both sides of one type' : 'an expression in CEL';
  return { code, at, found, expected, suggestion: '' };
}

/** All facts that a condition reads. */
export function factsIn(condition: Condition): readonly Fact[] {
  return atomsOf(condition).flatMap((atom) => atom.facts);
}
