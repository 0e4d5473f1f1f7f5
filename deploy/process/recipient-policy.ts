import { existsSync } from 'node:fs';
import type { Policy } from '../../policy/policy.ts';
import { InputFault } from '../config/problem.ts';
import { loadPolicyFile } from './policy-file.ts';

/** The policy of one user for what comes to him, as it lies in his folder; a bad file never replaces a good one. */
export class RecipientPolicy {
  readonly #file: string;
  readonly #log: { error(fields: object, message: string): void };
  #policy: Policy | undefined;

  constructor(file: string, log: { error(fields: object, message: string): void }) {
    this.#file = file;
    this.#log = log;
    this.read();
  }

  /** Undefined where he has none: then the organisation's verdict stands. */
  get current(): Policy | undefined {
    return this.#policy;
  }

  read(): void {
    try {
      this.#policy = existsSync(this.#file) ? loadPolicyFile(this.#file, 'recipient') : undefined;
    } catch (fault) {
      const problems = fault instanceof InputFault ? fault.problems : String(fault);
      this.#log.error(
        { problems },
        'a user’s policy has problems; the one before stays, or the organisation’s verdict',
      );
    }
  }
}
