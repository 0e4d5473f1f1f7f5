import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { DoorFault } from './fault.ts';
import { decodeFault, encodeFault } from './fault-wire.ts';
import { encodeFrame, type Frame, FrameReader } from './frame.ts';

/** Answers what the other side asks. What it throws goes back as a fault. */
export type Answerer = (method: string, value: unknown) => Promise<unknown>;

// Asked at a time; the rest waits its turn here. 64 frames of blocks are 16 MB on their way.
const maxInFlight = 64;
// Small questions (lookups, notifications) of a busy gateway; above this the caller is the one to slow down.
const maxWaiting = 10_000;
// The other side obeys maxInFlight too; twice that is a program that does not, and it is cut off.
const maxAnswering = 2 * maxInFlight;

// A stop of the node takes at most 10 s in all; an answer that takes longer than this is left behind.
const graceMs = 3000;

interface Asked {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/** Questions and answers in both directions over one socket, with bounds on both sides. Owns the socket. */
export class Link {
  readonly #socket: Socket;
  readonly #answer: Answerer;
  readonly #reader = new FrameReader();
  readonly #asked = new Map<number, Asked>();
  readonly #turns: (() => void)[] = [];
  readonly #answering = new Set<Promise<void>>();
  readonly closed: Promise<DoorFault>;
  #inFlight = 0;
  #number = 0;
  #drained: Promise<void> | undefined;
  #end: DoorFault | undefined;

  constructor(socket: Socket, answer: Answerer) {
    this.#socket = socket;
    this.#answer = answer;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.#close(new DoorFault('closed', 'the connection broke', { cause: error })));
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#close(new DoorFault('closed', 'the other side went away'));
        resolve(this.#end ?? new DoorFault('closed', 'closed'));
      });
    });
  }

  #take(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.push(chunk)) this.#receive(frame);
    } catch (error) {
      this.#close(error instanceof DoorFault ? error : new DoorFault('damaged', 'no frame', { cause: error }));
    }
  }

  #receive(frame: Frame): void {
    if (frame.kind === 'ask') {
      this.#serve(frame);
      return;
    }
    const asked = this.#asked.get(frame.number);
    // An answer after the deadline, or to nothing: nobody waits for it.
    if (asked === undefined) return;
    this.#asked.delete(frame.number);
    clearTimeout(asked.timer);
    if (frame.kind === 'answer') asked.resolve(frame.value);
    else asked.reject(decodeFault(frame.value));
  }

  #serve({ number, method, value }: Frame & { kind: 'ask' }): void {
    if (this.#answering.size >= maxAnswering) throw new DoorFault('too-many', 'the other side asks too much at once');
    const answering = this.#answer(method, value)
      .then(async (answer) => this.#send(encodeFrame({ kind: 'answer', number, value: answer })))
      .catch(async (error: unknown) => this.#send(encodeFrame({ kind: 'fault', number, value: encodeFault(error) })))
      .catch((error: unknown) => this.#close(new DoorFault('closed', 'an answer could not be sent', { cause: error })))
      .finally(() => this.#answering.delete(answering));
    this.#answering.add(answering);
  }

  /** Waits while the socket is full, so that a slow reader slows its writers down. */
  async #send(bytes: Buffer): Promise<void> {
    while (this.#drained !== undefined) await this.#drained;
    if (this.#end !== undefined) return;
    if (this.#socket.write(bytes)) return;
    this.#drained = new Promise((resolve) => {
      const go = (): void => {
        this.#socket.off('drain', go).off('close', go);
        this.#drained = undefined;
        resolve();
      };
      this.#socket.on('drain', go).on('close', go);
    });
  }

  /** Asks and waits its turn first. Rejects with the other side's fault, or DoorFault `timeout`, `too-many`, `closed`. */
  async ask(method: string, value: unknown, timeoutMs: number): Promise<unknown> {
    if (this.#end !== undefined) throw this.#end;
    await this.#turn();
    try {
      return await this.#exchange(method, value, timeoutMs);
    } finally {
      this.#inFlight--;
      this.#turns.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    if (this.#inFlight >= maxInFlight) {
      if (this.#turns.length >= maxWaiting) throw new DoorFault('too-many', 'too much waits at the door');
      await new Promise<void>((resolve) => {
        this.#turns.push(resolve);
      });
    }
    this.#inFlight++;
  }

  async #exchange(method: string, value: unknown, timeoutMs: number): Promise<unknown> {
    if (this.#end !== undefined) throw this.#end;
    const number = ++this.#number;
    const bytes = encodeFrame({ kind: 'ask', number, method, value });
    const answer = new Promise<unknown>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#asked.delete(number);
        reject(new DoorFault('timeout', `no answer to ${method} within ${timeoutMs / 1000} s`));
      }, timeoutMs);
      this.#asked.set(number, { resolve, reject, timer });
    });
    await Promise.all([answer, this.#send(bytes)]);
    return answer;
  }

  #close(fault: DoorFault): void {
    if (this.#end !== undefined) return;
    this.#end = fault;
    this.#socket.destroy();
    for (const asked of this.#asked.values()) {
      clearTimeout(asked.timer);
      asked.reject(fault);
    }
    this.#asked.clear();
    for (const turn of this.#turns.splice(0)) turn();
  }

  /** Ends the connection; what is asked fails, what is being answered is awaited for a while. */
  async close(): Promise<void> {
    this.#close(new DoorFault('closed', 'the door was closed'));
    const grace = new AbortController();
    const answered = Promise.all(this.#answering).then(() => grace.abort());
    const late = sleep(graceMs, undefined, { signal: grace.signal }).catch(() => undefined);
    await Promise.race([answered, late]);
    await this.closed;
  }
}
