import { loadPolicy } from '../../policy/load.ts';
import type { PolicyOwner } from '../../policy/loader.ts';
import type { Policy } from '../../policy/policy.ts';
import { readGivenFile } from '../config/given-file.ts';
import { InputFault } from '../config/problem.ts';

// A policy of 100 rules is 20 KiB.
const maxPolicyBytes = 1_048_576;

/** The text of a policy file; an InputFault where it cannot be read or is far too large. */
export function readPolicyText(file: string): string {
  return readGivenFile(file, 'a policy', maxPolicyBytes).toString('utf8');
}

/** The policy in a file; an InputFault with every error, each with its place. */
export function loadPolicyFile(file: string, whose: PolicyOwner = 'organisation'): Policy {
  return policyOf(readPolicyText(file), file, whose);
}

/** The same for a text that comes from `file`. */
export function policyOf(text: string, file: string, whose: PolicyOwner): Policy {
  const loaded = loadPolicy(text, whose);
  if (loaded.kind === 'policy') return loaded.policy;
  throw new InputFault(
    loaded.problems
      .filter(({ severity }) => severity === 'error')
      .map(({ line, column, path, found, expected, suggestion }) => ({
        file,
        line,
        column,
        path,
        found,
        expected,
        suggestion: suggestion || 'correct it',
      })),
  );
}
