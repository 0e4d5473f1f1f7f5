import { Worker } from 'node:worker_threads';
import type { ResolverOptions } from '../dns/resolver.ts';
import { inSlices } from '../slices.ts';
import { type Authentication, nothingKnown } from './authenticate.ts';
import type { ToVerify, Verify } from './verifier.ts';
import type { Answer, Question, ThreadData } from './verify-thread.ts';

export interface VerifyThreads {
  readonly verify: Verify;
  /** Resolves when all threads have loaded; until then messages are verified here. */
  readonly ready: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface VerifyThreadsOptions {
  /** How many; none where this machine has one core. */
  readonly count: number;
  /** Of each thread's own resolver. */
  readonly dns: Pick<ResolverOptions, 'servers' | 'timeoutMs'>;
  /** What is done when all threads have enough to do, or are gone. */
  readonly here: Verify;
  readonly log: { warn(facts: object, message: string): void };
}

// Small messages take a millisecond each: a thread with so many is some 10 ms behind, and this thread is sooner done with one itself.
const maxOutstanding = 8;
// A thread that dies of one message is there again for the next; one that dies at its start is not started a hundred times a second.
const restartMs = 1_000;
// Node's threads have some MB of code each; mailauth keeps little of a message, whose octets lie outside this heap.
const maxHeapMb = 256;
// What is made for a message is garbage after it: with more room for the young most of it is never copied.
const maxYoungMb = 96;
// As much of a message as most have. It is written into memory that the thread sees, too: handed over, each would be new memory outside of the heap, for which
// the thread collected its garbage several times a second.
const slotBytes = 256 * 1024;

/** Spreads the checks over threads, so that the event loop has its time for sessions and both cores are used. Bounded: what is too much is done here. */
export function startVerifyThreads({ count, dns, here, log }: VerifyThreadsOptions): VerifyThreads {
  const threads = Array.from({ length: count }, () => new VerifyThread(dns, log));
  return {
    verify: async (input, budget) => {
      const idle = threads.filter((one) => one.hasRoom).sort((a, b) => a.outstanding - b.outstanding)[0];
      return idle === undefined ? await here(input, budget) : await idle.verify(input, budget);
    },
    ready: async () => {
      await Promise.all(threads.map((one) => one.ready));
    },
    stop: async () => {
      await Promise.all(threads.map((one) => one.stop()));
    },
  };
}

interface Waiting {
  readonly input: ToVerify;
  readonly resolve: (found: Authentication) => void;
  /** Where its octets lie until the answer, if they lie in a slot. */
  readonly slot: number | undefined;
}

class VerifyThread {
  readonly #dns: VerifyThreadsOptions['dns'];
  readonly #log: VerifyThreadsOptions['log'];
  readonly #waiting = new Map<number, Waiting>();
  readonly #loaded = Promise.withResolvers<void>();
  #worker: Worker | undefined;
  /** Of this worker: what one that died may still have seen is not written to again. */
  #slots: SharedArrayBuffer[] = [];
  #freeSlots: number[] = [];
  /** Questions of this turn of the event loop: they go together, since each going wakes the thread. */
  readonly #asked: Question[] = [];
  readonly #handedOver: ArrayBuffer[] = [];
  #restart: NodeJS.Timeout | undefined;
  /** Not before it has loaded: one that cannot must not be given messages again and again. */
  #isReady = false;
  #nextId = 0;
  #stopped = false;

  constructor(dns: VerifyThreadsOptions['dns'], log: VerifyThreadsOptions['log']) {
    this.#dns = dns;
    this.#log = log;
    this.#start();
  }

  get ready(): Promise<void> {
    return this.#loaded.promise;
  }

  get hasRoom(): boolean {
    return this.#isReady && this.#waiting.size < maxOutstanding;
  }

  get outstanding(): number {
    return this.#waiting.size;
  }

  async verify(input: ToVerify, budget: Question['budget']): Promise<Authentication> {
    const id = this.#nextId;
    this.#nextId += 1;
    const { promise, resolve } = Promise.withResolvers<Authentication>();
    const { message, ...rest } = input;
    const slot = message.length <= slotBytes ? this.#freeSlots.pop() : undefined;
    this.#waiting.set(id, { input, resolve, slot });
    if (slot === undefined) {
      // A copy of its own, which is handed over: a view would take all of the buffer that it lies in along.
      const own = await ownBytes(message);
      this.#ask({ id, input: rest, message: own, budget }, own.buffer);
    } else {
      new Uint8Array(this.#slots[slot] as SharedArrayBuffer).set(message);
      this.#ask({ id, input: rest, message: { slot, bytes: message.length }, budget });
    }
    return await promise;
  }

  #ask(question: Question, ...handedOver: readonly ArrayBuffer[]): void {
    this.#asked.push(question);
    this.#handedOver.push(...handedOver);
    if (this.#asked.length === 1) setImmediate(() => this.#send());
  }

  #send(): void {
    if (this.#asked.length === 0) return;
    if (this.#worker === undefined) this.#lose('the thread has ended');
    else this.#worker.postMessage(this.#asked.splice(0), this.#handedOver.splice(0));
  }

  #start(): void {
    this.#slots = Array.from({ length: maxOutstanding }, () => new SharedArrayBuffer(slotBytes));
    this.#freeSlots = [...this.#slots.keys()];
    const worker = new Worker(new URL('./verify-thread.ts', import.meta.url), {
      workerData: { dns: this.#dns, slots: this.#slots } satisfies ThreadData,
      resourceLimits: { maxOldGenerationSizeMb: maxHeapMb, maxYoungGenerationSizeMb: maxYoungMb },
    });
    worker.unref();
    worker.on('message', (answers: readonly Answer[] | 'ready') => {
      if (answers === 'ready') {
        this.#isReady = true;
        this.#loaded.resolve();
      } else for (const answer of answers) this.#take(answer);
    });
    worker.on('error', (error) => this.#log.warn({ err: error }, 'a thread that verifies messages died'));
    worker.on('exit', () => {
      this.#worker = undefined;
      this.#isReady = false;
      this.#lose('the thread that made the checks died');
      if (!this.#stopped) this.#restart = setTimeout(() => this.#start(), restartMs).unref();
    });
    this.#worker = worker;
  }

  #take(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (waiting === undefined) return;
    if (waiting.slot !== undefined) this.#freeSlots.push(waiting.slot);
    if ('authentication' in answer) waiting.resolve(answer.authentication);
    else waiting.resolve({ ...nothingKnown(waiting.input.author), fault: new Error(answer.fault) });
  }

  /** Not tried again here: what ended a thread would end the gateway. The sender comes again. */
  #lose(why: string): void {
    for (const { input, resolve } of this.#waiting.values())
      resolve({ ...nothingKnown(input.author), fault: new Error(why) });
    this.#waiting.clear();
    this.#asked.length = 0;
    this.#handedOver.length = 0;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#restart);
    await this.#worker?.terminate();
  }
}

// Up to this size a copy at once takes a tenth of a millisecond.
const copiedAtOnce = 512 * 1024;

/** The same octets in an array of their own, copied in slices where they are many. */
async function ownBytes(message: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  if (message.length <= copiedAtOnce) return new Uint8Array(message);
  const copy = new Uint8Array(message.length);
  await inSlices(message, (slice, from) => copy.set(slice, from));
  return copy;
}
