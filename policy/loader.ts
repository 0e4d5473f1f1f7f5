import type { Condition } from './condition.ts';
import type { Stage } from './evidence.ts';
import type { Compiled, Expressions, ValueExpression } from './expression.ts';
import type { Reading } from './expression-reading.ts';
import { type Verdict, verdicts } from './policy.ts';
import { type Place, type Source, shown } from './source.ts';

/** Whose policy a file is: that of the ring's gateways, or that of one user, for what comes to him. */
export type PolicyOwner = 'organisation' | 'recipient';

/** Reads expressions out of a policy file, and reports what is wrong in them at their place in the file. */
export class Loader {
  readonly source: Source;
  readonly whose: PolicyOwner;
  readonly #expressions: Expressions;

  constructor(source: Source, expressions: Expressions, whose: PolicyOwner) {
    this.source = source;
    this.#expressions = expressions;
    this.whose = whose;
  }

  /** The stage of a rule, or of an expectation, that names none. */
  get usualStage(): Stage {
    return this.whose === 'recipient' ? 'notification' : 'data';
  }

  /** What a rule or the default may say at all; whether it can be said at a stage is another question. */
  get verdicts(): readonly Verdict[] {
    return this.whose === 'recipient' ? verdicts : verdicts.filter((one) => one !== 'introduce');
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
