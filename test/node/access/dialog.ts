import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { password } from './access-fixture.ts';

/**
 * A conversation as a mail person would write it down:
 *   C: what the client sends          C2: the same of a second client
 *   S: what the server must answer, line by line; `…` stands for anything
 *   S: <closed>                       the server has closed the connection
 *   ! connect | ! secure | ! login    open the client: in the clear, with TLS, with TLS and logged in (also `! login 2`)
 *   ! starttls                        the TLS handshake after the server's OK
 *   # why
 */
type Step =
  | { readonly kind: 'send' | 'expect'; readonly client: number; readonly text: string; readonly line: number }
  | { readonly kind: 'do'; readonly what: string; readonly client: number; readonly line: number };

const speech = /^([CS])(\d?): ?(.*)$/;

export function readDialog(file: URL): { title: string; steps: readonly Step[] } {
  const lines = readFileSync(file, 'utf8').split('\n');
  const steps = lines.flatMap((text, index): Step[] => {
    const line = index + 1;
    if (text === '' || text.startsWith('#')) return [];
    const spoken = speech.exec(text);
    if (spoken !== null) {
      return [
        { kind: spoken[1] === 'C' ? 'send' : 'expect', client: Number(spoken[2] || 1), text: spoken[3] ?? '', line },
      ];
    }
    const command = /^! (\w+) ?(\d?)$/.exec(text);
    if (command === null) throw new Error(`${file.pathname}:${line}: neither C:, S:, ! nor #`);
    return [{ kind: 'do', what: command[1] ?? '', client: Number(command[2] || 1), line }];
  });
  return { title: lines[0]?.replace(/^# ?/, '') ?? '', steps };
}

export class DialogClient {
  #socket: net.Socket;
  #received = '';
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    this.#listen();
  }

  static async connect(port: number, secure: boolean): Promise<DialogClient> {
    const socket = secure
      ? tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
      : net.connect({ port, host: '127.0.0.1' });
    await new Promise<void>((resolve, reject) => {
      socket.once(secure ? 'secureConnect' : 'connect', () => resolve());
      socket.once('error', reject);
    });
    return new DialogClient(socket);
  }

  async startTls(): Promise<void> {
    this.#socket.removeAllListeners('data');
    const socket = tls.connect({ socket: this.#socket, rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', () => resolve());
      socket.once('error', reject);
    });
    this.#socket = socket;
    this.#listen();
  }

  send(octets: string): void {
    this.#socket.write(Buffer.from(octets, 'utf8'));
  }

  /** The next line without its end, or `<closed>`. */
  async line(limitMs = 5_000): Promise<string> {
    const until = Date.now() + limitMs;
    for (;;) {
      const end = this.#received.indexOf('\r\n');
      if (end !== -1) {
        const line = this.#received.slice(0, end);
        this.#received = this.#received.slice(end + 2);
        return Buffer.from(line, 'latin1').toString('utf8');
      }
      if (this.#closed) return '<closed>';
      if (Date.now() > until) return `<nothing more came; so far ${JSON.stringify(this.#received)}>`;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(1, until - Date.now()));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Sends a tagged command and gives every line up to and with its completion. */
  async command(text: string): Promise<string[]> {
    const tag = text.split(' ', 1)[0] ?? '';
    this.send(`${text}\r\n`);
    const lines: string[] = [];
    for (;;) {
      const line = await this.line();
      lines.push(line);
      if (line.startsWith(`${tag} `) || line.startsWith('<')) return lines;
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

export interface DialogServer {
  readonly port: number;
  readonly securePort: number;
}

/** Plays a conversation. Resolves with the first difference, or undefined when the server said what it must. */
export async function play(
  steps: readonly Step[],
  server: DialogServer,
  greeting = /^\* OK /,
): Promise<string | undefined> {
  const clients = new Map<number, DialogClient>();
  try {
    for (const step of steps) {
      if (step.kind === 'do') {
        const problem = await act(step, clients, server, greeting);
        if (problem !== undefined) return `line ${step.line}: ${problem}`;
        continue;
      }
      const client = clients.get(step.client);
      if (client === undefined) return `line ${step.line}: client ${step.client} is not connected`;
      if (step.kind === 'send') client.send(`${step.text}\r\n`);
      else {
        const said = await client.line();
        if (!matches(step.text, said)) return `line ${step.line}: expected ${step.text}\n  but the server said ${said}`;
      }
    }
    return undefined;
  } finally {
    for (const client of clients.values()) client.close();
  }
}

async function act(
  { what, client: number }: Extract<Step, { kind: 'do' }>,
  clients: Map<number, DialogClient>,
  server: DialogServer,
  greeting: RegExp,
): Promise<string | undefined> {
  if (what === 'starttls') {
    await clients.get(number)?.startTls();
    return undefined;
  }
  const secure = what !== 'connect';
  const client = await DialogClient.connect(secure ? server.securePort : server.port, secure);
  clients.set(number, client);
  if (what !== 'login') return undefined;
  const hello = await client.line();
  if (!greeting.test(hello)) return `greeted with ${hello}`;
  const answer = await client.command(`login LOGIN alice@example.org "${password}"`);
  return answer.at(-1)?.startsWith('login OK') === true ? undefined : `login answered with ${answer.join(' | ')}`;
}

function matches(expected: string, said: string): boolean {
  const parts = expected.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(said);
}
