import { once } from 'node:events';
import tls from 'node:tls';

export const login = { user: 'alice@example.org', password: 'bench' };

/** Sends commands and looks at nothing of an answer but its last line and its size, so that the server's work is what takes the time. */
export class BenchClient {
  readonly #socket: tls.TLSSocket;
  #tail = '';
  #answered: ((line: string) => void) | undefined;
  /** Octets that came. */
  received = 0;

  private constructor(socket: tls.TLSSocket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.length;
      this.#tail = (this.#tail + chunk.toString('latin1', Math.max(0, chunk.length - 600))).slice(-600);
      const line = /(?:^|\n)(t (?:OK|NO|BAD)[^\n]*)\r\n$/.exec(this.#tail)?.[1];
      if (line === undefined) return;
      this.#tail = '';
      this.#answered?.(line);
    });
  }

  /** Connected over TLS and logged in. */
  static async open(port: number): Promise<BenchClient> {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    socket.setNoDelay(true);
    const client = new BenchClient(socket);
    await client.command(`LOGIN ${login.user} "${login.password}"`);
    return client;
  }

  /** Resolves with OK; throws for any other answer. A literal is the last thing of its command, and not waited for. */
  async command(text: string, literal?: Buffer): Promise<void> {
    const answered = new Promise<string>((resolve) => (this.#answered = resolve));
    this.#socket.write(`t ${text}\r\n`);
    if (literal !== undefined) this.#socket.write(Buffer.concat([literal, Buffer.from('\r\n')]));
    const line = await answered;
    if (!line.startsWith('t OK')) throw new Error(`${text.slice(0, 80)}: ${line}`);
  }

  /** Many commands without waiting between them; the last one has the tag that is looked for. */
  async pipelined(commands: readonly string[]): Promise<void> {
    const answered = new Promise<string>((resolve) => (this.#answered = resolve));
    this.#socket.write(
      commands.map((text, index) => `${index === commands.length - 1 ? 't' : 'p'} ${text}\r\n`).join(''),
    );
    const line = await answered;
    if (!line.startsWith('t OK')) throw new Error(line);
  }

  close(): void {
    this.#socket.destroy();
  }
}
