/** A way to Redis that can be cut: at a given command, before Redis sees it or after it has answered, as the death of a process does it. */
import { connect, createServer, type Socket } from 'node:net';

export interface Cutter {
  readonly url: string;
  /** Chunks of commands that went through. */
  readonly count: () => number;
  readonly isCut: () => boolean;
  mend(): void;
  cut(): void;
  close(): Promise<void>;
}

export async function startCutter(redisUrl: string, at: number, when: 'before' | 'after'): Promise<Cutter> {
  const { hostname, port } = new URL(redisUrl);
  const sockets = new Set<Socket>();
  let count = 0;
  let isCut = false;
  const cut = (): void => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const upstream = connect(Number(port), hostname);
    let isLast = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk) => {
      count += 1;
      isLast ||= count === at;
      if (isLast && when === 'before') cut();
      else upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      if (isLast) cut();
      else client.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `redis://127.0.0.1:${address.port}`,
    count: () => count,
    isCut: () => isCut,
    mend: () => {
      isCut = false;
    },
    cut,
    close: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
