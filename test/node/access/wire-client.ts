import net from 'node:net';
import tls from 'node:tls';

/** How far the first whole piece of what came goes, with its line end; undefined while there is none. */
export type Cut = (received: string) => number | undefined;

export const wholeLine: Cut = (received) => {
  const end = received.indexOf('\r\n');
  return end === -1 ? undefined : end + 2;
};

/** A connection of a test's client: octets out, and pieces in, as octets in latin1. */
export class WireClient {
  #socket: net.Socket;
  #received = '';
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    this.#listen();
  }

  protected static async open(port: number, secure: boolean): Promise<net.Socket> {
    const socket = secure
      ? tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
      : net.connect({ port, host: '127.0.0.1' });
    await connected(socket, secure ? 'secureConnect' : 'connect');
    return socket;
  }

  async startTls(): Promise<void> {
    this.#socket.removeAllListeners('data');
    const socket = tls.connect({ socket: this.#socket, rejectUnauthorized: false });
    await connected(socket, 'secureConnect');
    this.#socket = socket;
    this.#listen();
  }

  write(octets: Buffer): void {
    this.#socket.write(octets);
  }

  /** The next piece without its line end; else why there is none, with what came meanwhile. */
  protected async next(cut: Cut, limitMs: number): Promise<string | { readonly none: string }> {
    const until = Date.now() + limitMs;
    for (;;) {
      const end = cut(this.#received);
      if (end !== undefined) {
        const piece = this.#received.slice(0, end - 2);
        this.#received = this.#received.slice(end);
        return piece;
      }
      if (this.#closed) return { none: 'closed' };
      if (Date.now() > until) return { none: `nothing more came; so far ${JSON.stringify(this.#received)}` };
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(1, until - Date.now()));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #listen(): void {
    this.#socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString('latin1');
      this.#wake();
    });
    this.#socket.on('error', () => this.#socket.destroy());
    this.#socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }
}

async function connected(socket: net.Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once(event, () => resolve());
    socket.once('error', reject);
  });
}
