import { rmSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { HomeFault } from './fault.ts';

export interface Lock {
  release(): Promise<void>;
}

/**
 * Takes a lock that dies with its process, however it dies: a listening Unix socket at `path`. Waits up to `waitMs` for a
 * process that is just stopping; then a HomeFault `in-use`. A socket file that nobody listens on is a dead process's.
 */
export async function acquireLock(path: string, what: string, waitMs = 3_000): Promise<Lock> {
  for (const giveUp = Date.now() + waitMs; ; await sleep(100)) {
    const server = await listen(path);
    if (server !== undefined) {
      return { release: () => new Promise((resolve) => server.close(() => resolve())) };
    }
    if (!(await somebodyListens(path))) rmSync(path, { force: true });
    else if (Date.now() > giveUp) {
      throw new HomeFault('in-use', `${what} is already running on this home; stop it first, or choose another --home`);
    }
  }
}

function listen(path: string): Promise<net.Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = net.createServer((socket) => socket.destroy());
    server.once('error', (fault: NodeJS.ErrnoException) => {
      if (fault.code === 'EADDRINUSE') resolve(undefined);
      else reject(fault);
    });
    server.listen(path, () => resolve(server.unref()));
  });
}

function somebodyListens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
