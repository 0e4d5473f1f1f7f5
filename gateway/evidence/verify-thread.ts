/** A thread that verifies messages: started by verify-threads.ts, with a resolver and its cache of its own. */
import { parentPort, workerData } from 'node:worker_threads';
import { createResolver, type ResolverOptions } from '../dns/resolver.ts';
import type { ToVerify, VerifyBudget } from './verifier.ts';
import { verifyHere } from './verifier.ts';

export interface Question {
  readonly id: number;
  readonly input: ToVerify;
  readonly budget: VerifyBudget;
}

const options = workerData as Pick<ResolverOptions, 'servers' | 'timeoutMs'>;
const verify = verifyHere(createResolver({ ...options, now: Date.now }), Date.now);

parentPort?.on('message', ({ id, input, budget }: Question) => {
  verify(input, budget).then(
    (authentication) => parentPort?.postMessage({ id, authentication }),
    // It never rejects; should it, the message must not wait for ever.
    (error: unknown) => parentPort?.postMessage({ id, fault: String(error) }),
  );
});

// All is loaded: from now on it is quicker than the event loop.
parentPort?.postMessage('ready');
