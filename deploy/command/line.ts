import { parseArgs } from 'node:util';
import { closest } from '../../policy/problem.ts';
import { InputFault, type InputProblem } from '../config/problem.ts';

/** One option of a command. A `value` names what follows it; without one it is a switch. */
export interface Option {
  readonly value?: string;
  readonly help: string;
  /** Says what was expected where the value cannot be used, undefined where it can. */
  readonly check?: (text: string) => string | undefined;
  readonly required?: boolean;
}

export interface Positional {
  readonly name: string;
  readonly help: string;
  readonly optional?: boolean;
  readonly check?: (text: string) => string | undefined;
}

export interface Given {
  readonly values: Readonly<Record<string, string>>;
  readonly switches: ReadonlySet<string>;
  readonly positionals: readonly string[];
}

export interface Command {
  /** The words that call it, for instance `user add`. */
  readonly name: string;
  readonly summary: string;
  /** More for --help: what it promises, exit codes of its own, an example. */
  readonly details?: string;
  readonly positionals: readonly Positional[];
  readonly options: Readonly<Record<string, Option>>;
  /** Resolves with the exit code. */
  readonly run: (given: Given) => Promise<number>;
}

export const exitCodes = { done: 0, failed: 1, badInput: 2, notFound: 3, unavailable: 4 } as const;

/** Reads a command's own arguments; an InputFault with every problem at once. */
export function readArguments(command: Command, args: readonly string[]): Given {
  const known = Object.fromEntries(
    Object.entries(command.options).map(([name, option]) => [
      name,
      { type: option.value === undefined ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  const { tokens } = parseArgs({
    args: [...args],
    options: known,
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  const problems: InputProblem[] = [];
  const problem = (
    path: string,
    found: string,
    expected: string,
    suggestion = `see \`epost ${command.name} --help\``,
  ): void => {
    problems.push({ file: 'command line', path, found, expected, suggestion });
  };
  const values: Record<string, string> = {};
  const switches = new Set<string>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const option = command.options[token.name];
    if (option === undefined) {
      const near = closest(token.name, Object.keys(command.options));
      problem(
        token.rawName,
        'an unknown option',
        `one of ${Object.keys(command.options)
          .map((name) => `--${name}`)
          .join(', ')}`,
        near === undefined ? 'remove it' : `did you mean --${near}?`,
      );
    } else if (option.value === undefined) {
      if (token.value === undefined) switches.add(token.name);
      else problem(token.rawName, 'a value', 'none: it is a switch');
    } else if (token.value === undefined || (!token.inlineValue && token.value.startsWith('--'))) {
      problem(token.rawName, 'no value', option.value);
    } else {
      const wrong = option.check?.(token.value);
      if (wrong === undefined) values[token.name] = token.value;
      else problem(token.rawName, JSON.stringify(token.value), wrong);
    }
  }
  for (const [name, option] of Object.entries(command.options)) {
    const seen = tokens.some((token) => token.kind === 'option' && token.name === name);
    if (option.required === true && !seen) problem(`--${name}`, 'nothing', option.value ?? 'the switch');
  }
  command.positionals.forEach((positional, index) => {
    const text = positionals[index];
    if (text === undefined) {
      if (positional.optional !== true) problem(positional.name, 'nothing', positional.help);
      return;
    }
    const wrong = positional.check?.(text);
    if (wrong !== undefined) problem(positional.name, JSON.stringify(text), wrong);
  });
  for (const extra of positionals.slice(command.positionals.length)) {
    problem(
      '',
      JSON.stringify(extra),
      command.positionals.length === 0
        ? 'no further words'
        : `only ${command.positionals.map(({ name }) => name).join(' ')}`,
    );
  }
  if (problems.length > 0) throw new InputFault(problems);
  return { values, switches, positionals };
}

/** The text of `--help` of one command. */
export function helpOf(command: Command): string {
  const words = command.positionals.map(({ name, optional }) => (optional === true ? `[${name}]` : name));
  const options = Object.entries(command.options).map(([name, option]): [string, string] => [
    `--${name}${option.value === undefined ? '' : ` ${option.value}`}`,
    option.help,
  ]);
  const rows: [string, string][] = [
    ...command.positionals.map(({ name, help }): [string, string] => [name, help]),
    ...options,
    ['--help', 'this text'],
  ];
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return [
    `usage: epost ${[command.name, ...words].join(' ')} [options]`,
    '',
    command.summary,
    '',
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`),
    ...(command.details === undefined ? [] : ['', command.details]),
    '',
    'exit codes: 0 done, 1 failed, 2 bad input (all problems are listed), 3 not found, 4 in use or not reachable',
    '',
  ].join('\n');
}
