import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { RawClient } from './listener-under-test.ts';

/**
 * An SMTP conversation as a mail person would write it down:
 *   C: a line that the client sends        R: octets as a JSON string without its quotes, sent as they are
 *   S: a line that the server must answer; `…` stands for anything
 *   S: <closed>                            the server has closed the connection
 *   ! connect | ! starttls | ! close       ! starttls is the handshake after the server's 220
 *   # why
 * Lines of other people's suites become the same steps; of those only the class of a reply's code counts (`like`).
 */
export type Step =
  | { readonly kind: 'send'; readonly text: string; readonly line: number }
  | { readonly kind: 'expect'; readonly text: string; readonly line: number }
  /** A whole reply whose code begins with this digit. */
  | { readonly kind: 'like'; readonly digit: string; readonly line: number }
  | { readonly kind: 'do'; readonly what: string; readonly line: number };

export interface Dialog {
  readonly title: string;
  readonly steps: readonly Step[];
}

export function readDialog(file: URL): Dialog {
  const lines = readFileSync(file, 'utf8').split('\n');
  const steps = lines.flatMap((text, index): Step[] => {
    const line = index + 1;
    if (text === '' || text.startsWith('#')) return [];
    const [, mark, said = ''] = /^([CRS]): ?(.*)$/.exec(text) ?? [];
    if (mark === 'C') return [{ kind: 'send', text: `${said}\r\n`, line }];
    if (mark === 'R') return [{ kind: 'send', text: JSON.parse(`"${said}"`) as string, line }];
    if (mark === 'S') return [{ kind: 'expect', text: said, line }];
    const [, what] = /^! (connect|starttls|close)$/.exec(text) ?? [];
    if (what === undefined) throw new Error(`${file.pathname}:${line}: neither C:, R:, S:, ! nor #`);
    return [{ kind: 'do', what, line }];
  });
  return { title: lines[0]?.replace(/^# ?/, '') ?? '', steps };
}

/** chasquid's: `c -> text`, `c ~> 'raw'`, `c <- reply`, `c <~ regex`, `c <... text`, `c close`, `c tcp_connect`. */
export function readChasquid(file: string, named: (text: string) => string): Dialog {
  const steps = readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((text, index): Step[] => {
      const line = index + 1;
      if (text === '' || text.startsWith('#')) return [];
      const [, mark, said = ''] = /^c (->|~>|<-|<~|<\.\.\.|close|tcp_connect|tls_connect) ?(.*)$/.exec(text) ?? [];
      switch (mark) {
        case '->':
          return [{ kind: 'send', text: `${named(said)}\r\n`, line }];
        case '~>':
          return [{ kind: 'send', text: JSON.parse(`"${said.slice(1, -1)}"`) as string, line }];
        case '<-':
        case '<~':
        case '<...':
          return [{ kind: 'like', digit: said.slice(0, 1), line }];
        case 'close':
          return [{ kind: 'do', what: 'close', line }];
        case 'tcp_connect':
          return [{ kind: 'do', what: 'connect', line }];
        default:
          throw new Error(`${file}:${line}: not understood: ${text}`);
      }
    });
  return { title: path.basename(file, '.cmy'), steps };
}

/** James's: `C: line`, and `S: regex` for each line of a reply; those of one reply are one step here. */
export function readJames(file: string, named: (text: string) => string): Dialog {
  const steps: Step[] = [{ kind: 'do', what: 'connect', line: 0 }];
  let open = '';
  for (const [index, text] of readFileSync(file, 'utf8').split('\n').entries()) {
    const line = index + 1;
    if (text === '' || text.startsWith('#')) continue;
    const [, mark, said = ''] = /^([CS]): ?(.*)$/.exec(text) ?? [];
    if (mark === 'C') {
      steps.push({ kind: 'send', text: `${named(said)}\r\n`, line });
      open = '';
    } else if (mark === 'S') {
      const code = said.slice(0, 3);
      if (open !== code) steps.push({ kind: 'like', digit: code.slice(0, 1), line });
      open = said.startsWith(' ', 3) ? '' : code;
    } else throw new Error(`${file}:${line}: neither C: nor S:`);
  }
  return { title: path.basename(file, '.test'), steps };
}

/** Plays it against the listener at this port; undefined, or what differed and where. */
export async function play({ steps }: Dialog, port: number, clients: RawClient[]): Promise<string | undefined> {
  let client: RawClient | undefined;
  const lines: string[] = [];
  const nextReply = async (): Promise<string> => (await client?.reply()) ?? 'not connected';
  for (const taken of steps) {
    if (taken.kind === 'send') client?.write(Buffer.from(taken.text, 'utf8'));
    else if (taken.kind === 'do' && taken.what === 'close') client?.close();
    else if (taken.kind === 'do') {
      client = taken.what === 'connect' ? RawClient.open(port) : await secured(client);
      clients.push(client);
      lines.length = 0;
    } else if (taken.kind === 'like') {
      const reply = await nextReply();
      if (!reply.startsWith(taken.digit)) return `line ${taken.line}: expected ${taken.digit}xx, got ${reply}`;
    } else {
      if (lines.length === 0) lines.push(...(await nextReply()).split('\r\n'));
      const line = (lines.shift() ?? '').replace(/^closed$/, '<closed>');
      if (!matches(line, taken.text)) return `line ${taken.line}: expected ${taken.text}, got ${line}`;
      if (/^[45]/.test(line) && !/ \(t\d+\)$/.test(line)) return `line ${taken.line}: no trace id in ${line}`;
    }
  }
  return lines.length === 0 ? undefined : `and said besides: ${lines.join(' / ')}`;
}

async function secured(client: RawClient | undefined): Promise<RawClient> {
  if (client === undefined) throw new Error('! starttls before ! connect');
  client.socket.removeAllListeners('data');
  const socket = tlsConnect({ socket: client.socket, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  return new RawClient(socket);
}

function matches(line: string, wanted: string): boolean {
  const escaped = wanted.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${escaped.join('.*')}$`).test(line);
}
