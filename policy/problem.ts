import type { ProblemCode } from './problem-codes.ts';

/** One thing wrong with a policy file, with all a person needs to put it right. Line and column count from 1. */
export interface Problem {
  readonly severity: 'error' | 'warning';
  /** Stable name of the kind of problem. */
  readonly code: ProblemCode;
  readonly line: number;
  readonly column: number;
  /** Where in the document, as `rules[2].when`. */
  readonly path: string;
  readonly found: string;
  readonly expected: string;
  readonly suggestion: string;
}

/** A problem in one line, as compilers print them. */
export function problemText(problem: Problem, file = 'policy'): string {
  const place = `${file}:${problem.line}:${problem.column}`;
  const where = problem.path === '' ? '' : ` at ${problem.path}`;
  const advice = problem.suggestion === '' ? '' : `; ${problem.suggestion}`;
  return `${place}: ${problem.severity} ${problem.code}${where}: found ${problem.found}; expected ${problem.expected}${advice}`;
}

// A name further away than this is another name, not a slip of the finger.
const maxDistance = 3;
// Names from the file are compared with each candidate: longer ones are no slip of any name of ours.
const maxCompared = 64;

/** The candidate that was probably meant, or undefined. */
export function closest(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > maxCompared) return undefined;
  let best: string | undefined;
  let bestDistance = Math.min(maxDistance, Math.floor(name.length / 2)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** `did you mean X?`, or a fallback. */
export function didYouMean(name: string, candidates: Iterable<string>, otherwise = ''): string {
  const meant = closest(name, candidates);
  return meant === undefined ? otherwise : `did you mean ${meant}?`;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1;
      row[j] = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + change);
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}
