import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** The only way to a node that the others know: what comes through it can be cut. */
export class Door {
  readonly #server: Server;
  /** Sockets by the part of the network that they belong to. */
  readonly #sockets = new Map<Socket, 'inner' | 'cross'>();
  readonly target: number;
  part: 'inner' | 'cross' = 'inner';
  open = true;
  /** Octets that came in through it. */
  passed = 0;

  private constructor(target: number, server: Server) {
    this.target = target;
    this.#server = server;
    server.on('connection', (socket) => this.#pass(socket));
  }

  static async before(target: number): Promise<Door> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Door(target, server);
  }

  get address(): string {
    const { port } = this.#server.address() as { port: number };
    return `/ip4/127.0.0.1/tcp/${port}`;
  }

  #pass(socket: Socket): void {
    if (!this.open) {
      socket.destroy();
      return;
    }
    socket.on('data', ({ length }) => {
      this.passed += length;
    });
    const onward = connect(this.target, '127.0.0.1');
    this.#sockets.set(socket, this.part);
    socket.pipe(onward).pipe(socket);
    const end = (): void => {
      this.#sockets.delete(socket);
      socket.destroy();
      onward.destroy();
    };
    for (const one of [socket, onward]) one.on('error', end).on('close', end);
  }

  /** Ends what crosses between the halves, and lets nothing in. */
  cut(): void {
    this.open = false;
    for (const [socket, part] of this.#sockets) if (part === 'cross') socket.destroy();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets.keys()) socket.destroy();
  }
}

/** A port that nobody listens at, for a node that has to be started behind a {@link Door}. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
