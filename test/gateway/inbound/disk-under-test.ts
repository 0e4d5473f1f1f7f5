/** A disk that is disturbed from outside: strace makes the system calls of a running process fail, or wait, and counts them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { missing, program } from '../../needs.ts';

const writing = 'fdatasync,fsync,pwrite64,pwritev';

/** Why none can be disturbed here, or undefined where it can: a container may forbid tracing. */
export async function cannotDisturb(): Promise<string | undefined> {
  const lacking = missing('strace');
  if (lacking !== undefined) return lacking;
  const sleeper = spawn('sleep', ['60']);
  try {
    const tracing = await disturb(sleeper, undefined, '/dev/null').catch(() => undefined);
    if (tracing === undefined) return 'this system does not let strace attach';
    await tracing.end();
    return undefined;
  } finally {
    sleeper.kill('SIGKILL');
  }
}

export interface Disturbance {
  /** The system calls go through again. */
  readonly end: () => Promise<void>;
  /** What was called since, in order, one call a line. */
  readonly log: () => Promise<string[]>;
}

/** From when this resolves, the process's writes to disk go as `inject` says (strace -e inject), until the end. */
export async function disturb(
  { pid = 0 }: ChildProcess,
  inject: string | undefined,
  logFile: string,
): Promise<Disturbance> {
  const args = ['-f', '-p', String(pid), '-s', '60', '-o', logFile, '-e', `trace=${writing},write,writev`];
  const strace = spawn(program('strace'), [...args, ...(inject === undefined ? [] : ['-e', `inject=${inject}`])], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(strace, 'exit');
  let told = '';
  // Read to its end: strace writes a line for each new thread, and dies of a pipe that nobody reads.
  const attached = new Promise<void>((resolve, reject) => {
    strace.stderr.on('data', (chunk: Buffer) => {
      told += chunk.toString();
      // It says so of the first thread when it has all of them.
      if (told.includes('attached')) resolve();
    });
    ended.then(() => reject(new Error(`strace could not attach: ${told}`)), reject);
  });
  await attached;
  return {
    end: async () => {
      if (strace.exitCode === null) strace.kill('SIGINT');
      await ended;
    },
    log: async () => (await readFile(logFile, 'utf8')).split('\n'),
  };
}

/** Ends a process at once, and waits until it is gone. */
export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
