/** A thread that verifies messages: started by verify-threads.ts, with a resolver and its cache of its own. */
import { parentPort, workerData } from 'node:worker_threads';
import { createResolver, type ResolverOptions } from '../dns/resolver.ts';
import type { ToVerify, VerifyBudget } from './verifier.ts';
import { verifyHere } from './verifier.ts';

export interface Question {
  readonly id: number;
  readonly input: Omit<ToVerify, 'message'>;
  /** The octets, or where they lie in the shared memory until the answer. */
  readonly message: Uint8Array | { readonly slot: number; readonly bytes: number };
  readonly budget: VerifyBudget;
}

export interface ThreadData {
  readonly dns: Pick<ResolverOptions, 'servers' | 'timeoutMs'>;
  readonly slots: readonly SharedArrayBuffer[];
}

const { dns, slots } = workerData as ThreadData;
const verify = verifyHere(createResolver({ ...dns, now: Date.now }), Date.now);

function octetsOf(message: Question['message']): Uint8Array {
  if (message instanceof Uint8Array) return message;
  return Buffer.from(slots[message.slot] as SharedArrayBuffer, 0, message.bytes);
}

parentPort?.on('message', ({ id, input, message, budget }: Question) => {
  verify({ ...input, message: octetsOf(message) }, budget).then(
    (authentication) => parentPort?.postMessage({ id, authentication }),
    // It never rejects; should it, the message must not wait for ever.
    (error: unknown) => parentPort?.postMessage({ id, fault: String(error) }),
  );
});

// All is loaded: from now on it is quicker than the event loop.
parentPort?.postMessage('ready');
