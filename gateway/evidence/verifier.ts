import type { Resolver } from '../dns/answer.ts';
import { messageLookups } from '../dns/message-lookups.ts';
import { type Authentication, type AuthenticationInput, authenticate } from './authenticate.ts';

/** What is checked, without the way to ask for it. */
export type ToVerify = Omit<AuthenticationInput, 'lookups'>;

/** How many questions and how much time one message may cost. */
export interface VerifyBudget {
  readonly maxLookups: number;
  readonly timeMs: number;
}

/** Makes the checks of one message. Never throws, and ends within about its time. */
export type Verify = (input: ToVerify, budget: VerifyBudget) => Promise<Authentication>;

/** On this thread, by this resolver. */
export function verifyHere(resolver: Resolver, now: () => number): Verify {
  return async (input, { maxLookups, timeMs }) => {
    const lookups = messageLookups(resolver, { maxLookups, deadline: now() + timeMs, now });
    return await authenticate({ ...input, lookups });
  };
}
