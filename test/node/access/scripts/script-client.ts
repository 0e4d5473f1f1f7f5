import tls from 'node:tls';

/** A client that gives whole responses: a line together with the literals in it, as octets in latin1. */
export class ScriptClient {
  readonly #socket: tls.TLSSocket;
  #received = '';
  #closed = false;
  #wake: () => void = () => undefined;

  private constructor(socket: tls.TLSSocket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  static async connect(port: number): Promise<ScriptClient> {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', () => resolve());
      socket.once('error', reject);
    });
    return new ScriptClient(socket);
  }

  /** Octets as latin1. */
  send(octets: string): void {
    this.#socket.write(Buffer.from(octets, 'latin1'));
  }

  /** The next response without its line end; throws when none comes. */
  async response(): Promise<string> {
    // The script fails by this only when something is wrong, so it may be long.
    const until = Date.now() + 20_000;
    for (;;) {
      const end = endOfResponse(this.#received);
      if (end !== undefined) {
        const response = this.#received.slice(0, end - 2);
        this.#received = this.#received.slice(end);
        return response;
      }
      if (this.#closed) throw new Error('the server closed the connection');
      if (Date.now() > until) throw new Error(`nothing more came; so far ${JSON.stringify(this.#received)}`);
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
}

function endOfResponse(text: string): number | undefined {
  let from = 0;
  for (;;) {
    const lineEnd = text.indexOf('\r\n', from);
    if (lineEnd === -1) return undefined;
    const literal = /\{(\d+)\}$/.exec(text.slice(from, lineEnd));
    if (literal === null) return lineEnd + 2;
    from = lineEnd + 2 + Number(literal[1]);
    if (text.length < from) return undefined;
  }
}
