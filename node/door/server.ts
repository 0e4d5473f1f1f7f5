import { chmod, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Clock, Log } from '../notify/notify.ts';
import type { Admin, Door } from './door.ts';
import { DoorFault } from './fault.ts';
import { type DoorPost, inProcessDoor } from './in-process.ts';
import { type Answerer, Link } from './link.ts';
import { checkSocketPath } from './socket-path.ts';
import { attachable, encodeLookup, encodeTrust, shaped, shapes } from './wire.ts';

// A recipient behind the door may have to write to its own queue first; the notification stays pending meanwhile.
const acceptTimeoutMs = 60_000;
const receiptTimeoutMs = 30_000;
// One gateway, a few commands, and room for what is being closed.
const maxConnections = 32;
const maxAttachments = 100;

export interface DoorServerOptions {
  readonly path: string;
  readonly post: DoorPost;
  readonly now: Clock;
  readonly log: Log;
  readonly admin: Admin;
}

/** One program at the door: an in-process door of its own, spoken to in frames. */
class Visitor {
  readonly #door: Door;
  readonly #link: Link;
  readonly #detach = new Map<number, () => void>();
  readonly gone: Promise<void>;

  constructor(socket: Socket, options: DoorServerOptions) {
    this.#door = inProcessDoor(options);
    this.#link = new Link(socket, this.#answerer());
    this.#door.onReceipt((receipt) => {
      this.#link.ask('receipt', receipt, receiptTimeoutMs).catch((error: unknown) => {
        // It stays on the node's disk; the visitor asks for it when it comes back.
        options.log.debug({ err: error }, 'a receipt was not taken at the door');
      });
    });
    this.gone = this.#link.closed.then(async () => this.#door.close());
  }

  #answerer(): Answerer {
    const door = this.#door;
    const methods: Record<string, (value: unknown) => Promise<unknown>> = {
      insert: async (value) => {
        const { blocks, lease } = shaped(shapes.insert, value, 'insert');
        return door.insert(
          blocks.map(([key, bytes]) => ({ key, bytes })),
          lease,
        );
      },
      fetch: async (value) => door.fetch(shaped(shapes.fetch, value, 'fetch')),
      lookup: async (value) => encodeLookup(await door.lookup(shaped(shapes.lookup, value, 'lookup'))),
      notify: async (value) => door.notify(shaped(shapes.sealed, value, 'notify')),
      attach: async (value) => this.#attach(value),
      detach: async (value) => this.#detachOne(shaped(shapes.detach, value, 'detach')),
      watch: async (value) => door.watch(shaped(shapes.watch, value, 'watch')),
      trust: async () => encodeTrust(await door.trust()),
      call: async (value) => {
        const { method, args } = shaped(shapes.call, value, 'call');
        return door.call(method, args);
      },
    };
    return async (method, value) => {
      const answer = Object.hasOwn(methods, method) ? methods[method] : undefined;
      if (answer === undefined) throw new DoorFault('no-such-method', `the door has no method ${method}`);
      return answer(value);
    };
  }

  async #attach(value: unknown): Promise<void> {
    const { number, certificate } = shaped(shapes.attach, value, 'attach');
    if (this.#detach.size >= maxAttachments) throw new DoorFault('too-many', 'too many identities at one door');
    const proven = attachable(certificate, await this.#door.trust());
    this.#detachOne(number);
    const detach = this.#door.attach({
      certificate: proven,
      accept: async (sealed) => {
        const answer = await this.#link.ask('accept', { number, sealed }, acceptTimeoutMs);
        return shaped(shapes.accepted, answer, 'accept') ?? undefined;
      },
    });
    this.#detach.set(number, detach);
  }

  #detachOne(number: number): void {
    this.#detach.get(number)?.();
    this.#detach.delete(number);
  }

  async close(): Promise<void> {
    await this.#link.close();
    await this.gone;
  }
}

/** Whether another living program listens there. */
async function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Bound within this very call, so the mask covers it: there is no moment at which others could open the socket.
    const mask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
  await chmod(path, 0o600);
}

async function listenAnew(server: Server, path: string): Promise<void> {
  try {
    await listen(server, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    if (await isServed(path))
      throw new DoorFault('in-use', `another node serves ${path}; stop that one first`, { cause: error });
    // What a killed node left behind.
    await unlink(path);
    await listen(server, path);
  }
}

/** Serves the node's door on a local socket that only this user can open. Throws DoorFault `path-too-long` or `in-use`. */
export async function serveDoor(options: DoorServerOptions): Promise<{ stop(): Promise<void> }> {
  checkSocketPath(options.path);
  const visitors = new Set<Visitor>();
  const server = createServer((socket) => {
    const visitor = new Visitor(socket, options);
    visitors.add(visitor);
    visitor.gone
      .catch((error: unknown) => options.log.warn({ err: error }, 'a door did not close cleanly'))
      .finally(() => visitors.delete(visitor));
  });
  server.maxConnections = maxConnections;
  await listenAnew(server, options.path);
  return {
    async stop() {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      await Promise.all([...visitors].map(async (visitor) => visitor.close()));
      await closed;
    },
  };
}
