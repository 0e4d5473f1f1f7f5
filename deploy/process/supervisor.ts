import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChildMessage, ReadyNote, Role } from './child-message.ts';

// SIGTERM must be over within 10 s, for two children one after the other.
const stopGraceMs = 4_800;
const firstRestartMs = 500;
const longestRestartMs = 30_000;
// A child that ran this long was well: its next crash waits the first time again.
const steadyMs = 60_000;

export interface SupervisorLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

// A child that dies of a signal before it is ready: perhaps somebody's kill, perhaps a damaged database file.
const maxEarlyCrashes = 3;

// What is made for a message or a request is garbage right after it. Half-spaces of 32 MiB instead of 16 let most of it die before it is copied
// (test/bench/README.md).
const youngRoom = ['--max-semi-space-size=32'];

// The C library gives each thread a heap of its own, where what threads hand to each other leaves holes: under steady load a gateway grew by 2 KB with each message,
// to no end within 36,000; with two heaps it is level after some 15,000, and as fast (test/bench/README.md). Said by the environment, since it is read before anything runs.
const fewHeaps = { MALLOC_ARENA_MAX: '2' };

function crashSentence(role: Role, signal: NodeJS.Signals): string {
  return `the ${role} process died of ${signal} ${maxEarlyCrashes} times before it was ready; the files of the home may be damaged: restore them from a backup`;
}

/** How the first start of a child ended: it is ready, or it said why it never will be. */
export type Start =
  | { readonly kind: 'ready'; readonly note: ReadyNote }
  | { readonly kind: 'failed'; readonly exitCode: number };

/** All parts are ready, with where they listen; or one has failed, and the others are not waited for: they may be waiting for it. */
export function allReady(
  starts: readonly Promise<Start>[],
): Promise<
  { readonly kind: 'ready'; readonly listens: Readonly<Record<string, string>> } | (Start & { readonly kind: 'failed' })
> {
  return new Promise((resolve, reject) => {
    const listens: Record<string, string> = {};
    let waiting = starts.length;
    const take = (start: Start): void => {
      if (start.kind === 'failed') return resolve(start);
      Object.assign(listens, start.note.listens);
      waiting -= 1;
      if (waiting === 0) resolve({ kind: 'ready', listens });
    };
    for (const start of starts) start.then(take, reject);
  });
}

/**
 * Runs one role in a process of its own and starts it again, with growing waits, when it dies. A child that ends with
 * exit code 2 or 4 (bad input, port or home in use) before it was ever ready is not started again.
 */
export class Supervised {
  readonly #role: Role;
  readonly #args: readonly string[];
  readonly #log: SupervisorLog;
  #child: ChildProcess | undefined;
  #ready = false;
  #reloadWhenReady = false;
  #stopping = false;
  readonly #stopped = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(role: Role, args: readonly string[], log: SupervisorLog) {
    this.#role = role;
    this.#args = args;
    this.#log = log;
  }

  /** Starts the child; resolves when it is ready or has failed for good. */
  start(): Promise<Start> {
    return new Promise((resolve, reject) => {
      this.#loop = this.#keepRunning(resolve);
      this.#loop.catch(reject);
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#stopped.abort();
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), stopGraceMs);
      await new Promise((resolve) => child.once('exit', resolve));
      clearTimeout(timer);
    }
    await this.#loop;
  }

  /** A child that is only starting does not hear SIGHUP yet and would die of it; it may have read its files already, so it is told when it is ready. */
  reload(): void {
    if (this.#ready) this.#child?.kill('SIGHUP');
    else this.#reloadWhenReady = true;
  }

  async #keepRunning(first: (start: Start) => void): Promise<void> {
    let waitMs = firstRestartMs;
    let everReady = false;
    let crashes = 0;
    while (!this.#stopping) {
      const startedAt = Date.now();
      const { exitCode, signal } = await this.#runOnce((note) => {
        if (!everReady) first({ kind: 'ready', note });
        everReady = true;
      });
      if (this.#stopping) return;
      if (signal !== null) crashes += 1;
      if (!everReady && (signal === null || crashes === maxEarlyCrashes)) {
        if (signal !== null) this.#log.error({ role: this.#role, signal }, crashSentence(this.#role, signal));
        first({ kind: 'failed', exitCode });
        return;
      }
      waitMs = Date.now() - startedAt > steadyMs ? firstRestartMs : Math.min(waitMs * 2, longestRestartMs);
      this.#log.error(
        { role: this.#role, exitCode, signal, restartInMs: waitMs },
        `the ${this.#role} process ended; it is started again`,
      );
      await sleep(waitMs, undefined, { signal: this.#stopped.signal }).catch(() => undefined);
    }
  }

  #runOnce(onReady: (note: ReadyNote) => void): Promise<{ exitCode: number; signal: NodeJS.Signals | null }> {
    return new Promise((resolve) => {
      // Standard output of `up` belongs to its one ready line; children write their logs to standard error.
      // This very program again, in another role.
      const child = fork(process.argv[1] ?? '', [this.#role, ...this.#args], {
        stdio: ['ignore', 2, 2, 'ipc'],
        execArgv: [...youngRoom],
        env: { ...fewHeaps, ...process.env },
      });
      this.#child = child;
      this.#ready = false;
      child.on('message', (message: ChildMessage) => {
        if (message.kind !== 'ready') return;
        this.#ready = true;
        onReady(message);
        if (this.#reloadWhenReady) this.reload();
        this.#reloadWhenReady = false;
      });
      child.once('exit', (code, signal) => {
        resolve({ exitCode: code ?? 1, signal });
      });
      child.once('error', (cause) => {
        this.#log.error({ role: this.#role, cause: String(cause) }, 'the process could not be started');
        resolve({ exitCode: 1, signal: null });
      });
    });
  }
}
