import type { Condition } from './condition.ts';
import type { Compiled, Expressions, ValueExpression } from './expression.ts';
import type { Reading } from './expression-reading.ts';
import { type Place, type Source, shown } from './source.ts';

/** Reads expressions out of a policy file, and reports what is wrong in them at their place in the file. */
export class Loader {
  readonly source: Source;
  readonly #expressions: Expressions;

  constructor(source: Source, expressions: Expressions) {
    this.source = source;
    this.#expressions = expressions;
  }

  /** A condition, or undefined after reporting why it is none. */
  condition(place: Place): { value: Condition; reading: Reading } | undefined {
    return this.#compiled(place, 'a condition', (text) => this.#expressions.condition(text));
  }

  /** An expression for a value of one of these types, or undefined after reporting. */
  value(place: Place, types: readonly string[]): { value: ValueExpression; reading: Reading } | undefined {
    return this.#compiled(place, 'an expression', (text) => this.#expressions.value(text, types));
  }

  #compiled<T>(place: Place, expected: string, compile: (text: string) => Compiled<T>) {
    const text = this.source.text(place, expected);
    if (text === undefined) return undefined;
    const compiled = compile(text);
    if (compiled.kind === 'compiled') return { value: compiled.value, reading: compiled.reading };
    for (const { code, at, found, expected: wanted, suggestion } of compiled.troubles) {
      const quoted = found.startsWith('"') ? found : shown(found).slice(1, -1);
      this.source.report(place, { code, found: quoted, expected: wanted, suggestion }, at);
    }
    return undefined;
  }
}
