/** A thread that verifies messages: started by verify-threads.ts, with a resolver and its cache of its own. */
import { parentPort, workerData } from 'node:worker_threads';
import { createResolver, type ResolverOptions } from '../dns/resolver.ts';
import type { Authentication } from './authenticate.ts';
import type { ToVerify, VerifyBudget } from './verifier.ts';
import { verifyHere } from './verifier.ts';

export interface Question {
  readonly id: number;
  readonly input: Omit<ToVerify, 'message'>;
  /** The octets, or where they lie in the shared memory until the answer. */
  readonly message: Uint8Array | { readonly slot: number; readonly bytes: number };
  readonly budget: VerifyBudget;
}

export type Answer = { readonly id: number } & (
  | { readonly authentication: Authentication }
  | { readonly fault: string }
);

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

const answers: Answer[] = [];

/** Those of one turn of the event loop go together: each going wakes the other thread. */
function tell(answer: Answer): void {
  answers.push(answer);
  if (answers.length === 1) setImmediate(() => parentPort?.postMessage(answers.splice(0)));
}

async function answer({ id, input, message, budget }: Question): Promise<void> {
  try {
    tell({ id, authentication: await verify({ ...input, message: octetsOf(message) }, budget) });
  } catch (error) {
    // It never throws; should it, the message must not wait for ever.
    tell({ id, fault: String(error) });
  }
}

parentPort?.on('message', (questions: readonly Question[]) => {
  for (const question of questions) answer(question).catch(() => undefined);
});

// All is loaded: from now on it is quicker than the event loop.
parentPort?.postMessage('ready');
