import { readFileSync } from 'node:fs';
import { password } from './access-fixture.ts';
import { WireClient, wholeLine } from './wire-client.ts';

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

export class DialogClient extends WireClient {
  static async connect(port: number, secure: boolean): Promise<DialogClient> {
    return new DialogClient(await WireClient.open(port, secure));
  }

  send(octets: string): void {
    this.write(Buffer.from(octets, 'utf8'));
  }

  /** The next line without its end, or `<closed>`. */
  async line(limitMs = 20_000): Promise<string> {
    const line = await this.next(wholeLine, limitMs);
    return typeof line === 'string' ? Buffer.from(line, 'latin1').toString('utf8') : `<${line.none}>`;
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
