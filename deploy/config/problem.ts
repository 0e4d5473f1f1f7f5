/** One thing wrong with what a person wrote: what was found, what was expected, what to do about it. */
export interface InputProblem {
  /** The file, or `command line`. */
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  /** Where in the structure, for instance `gateway.mx.port`. */
  readonly path: string;
  readonly found: string;
  readonly expected: string;
  readonly suggestion: string;
}

/** What a person wrote cannot be used; carries every problem at once. Exit code 2. */
export class InputFault extends Error {
  override readonly name = 'InputFault';
  readonly code = 'bad-input';
  readonly problems: readonly InputProblem[];

  constructor(problems: readonly InputProblem[]) {
    super(problems.map(problemLine).join('\n'));
    this.problems = problems;
  }
}

/** `epost.yaml:12:9: gateway.mx.port: found "x", expected …; …`, the form editors and people follow. */
export function problemLine(problem: InputProblem): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(':');
  const path = problem.path === '' ? '' : ` ${problem.path}:`;
  return `${place}:${path} found ${problem.found}, expected ${problem.expected}; ${problem.suggestion}`;
}
