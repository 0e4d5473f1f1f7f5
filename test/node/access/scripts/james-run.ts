import { password } from '../access-fixture.ts';
import type { JamesExchange } from './james-script.ts';
import { ScriptClient } from './script-client.ts';

/** Plays a script. Resolves with the first difference, or undefined. */
export async function playJames(exchanges: readonly JamesExchange[], port: number): Promise<string | undefined> {
  const clients = new Map<string, ScriptClient>();
  try {
    for (const exchange of exchanges) {
      const client = clients.get(exchange.session) ?? (await loggedIn(port));
      clients.set(exchange.session, client);
      const problem = await play(client, exchange);
      if (problem !== undefined) return `line ${exchange.line}: ${problem}`;
    }
    return undefined;
  } finally {
    for (const client of clients.values()) client.close();
  }
}

/** Logged in, with `selected` selected, as James' own preparation leaves it. */
async function loggedIn(port: number): Promise<ScriptClient> {
  const client = await ScriptClient.connect(port);
  await client.response();
  client.send(`login LOGIN alice@example.org "${password}"\r\n`);
  client.send('select SELECT selected\r\n');
  while (!(await client.response()).startsWith('select ')) continue;
  return client;
}

async function play(client: ScriptClient, { sent, expected }: JamesExchange): Promise<string | undefined> {
  client.send(sent.map((line) => `${asked(line)}\r\n`).join(''));
  const tags = expected.flatMap((line) => /^([A-Za-z0-9.]+) (?:OK|NO|BAD)\b/.exec(line)?.slice(1, 2) ?? []);
  const last = tags.at(-1);
  if (last === undefined) return 'no completion is expected';
  const came: string[] = [];
  for (let left = tags.filter((tag) => tag === last).length; left > 0; ) {
    const response = await client.response();
    // That reading has marked a message as seen is said behind what was read.
    came.push(
      ...response
        .replace(/ FLAGS \(\\Seen\)\)$/, ')')
        .replace(/FLAGS \(([^()]*)\)/, (_, flags: string) => `FLAGS (${sorted(flags)})`)
        .split('\r\n'),
    );
    if (response.startsWith(`${last} `)) left -= 1;
  }
  const left = [...came];
  for (const line of expected.filter((one) => !aboutRecent.test(one))) {
    const wanted = wantedLine(line);
    const place = left.findIndex((one) => wanted.test(one));
    if (place === -1) return `no line is ${wanted.source}; came:\n${came.join('\n')}`;
    left.splice(place, 1);
  }
  return undefined;
}

/** Synchronising literals are sent without waiting (RFC 7888). */
function asked(line: string): string {
  return line.replace(/\{(\d+)\}$/, '{$1+}');
}

// RFC 9051 dropped \Recent, and we never set it; which flags there are, and in which order, is each server's own.
const aboutRecent = /^\\\* (?:\d+ RECENT|FLAGS|OK \\\[PERMANENTFLAGS)/;

/** Flags have no order. */
function sorted(flags: string): string {
  return flags.split(' ').sort().join(' ');
}

/** The texts behind a status are James' own: the tag, the status and a response code count. */
function wantedLine(line: string): RegExp {
  const plain = line
    .replaceAll(/ ?\\\\Recent(?= ?)/gi, '')
    .replaceAll('\\( ', '\\(')
    .replace(/FLAGS \\\(\\\\Seen\\\) (?=BODY|RFC822)/i, '')
    .replace(/FLAGS \\\(([^()]*)\\\)/, (_, flags: string) => `FLAGS \\(${sorted(flags)}\\)`)
    .replaceAll(/\\?"\\\.\\?"/g, '"/"')
    // Names are quoted or not, as a server likes.
    .replaceAll(/\\?"([A-Za-z0-9/ ]+)\\?"/g, '"?$1"?');
  const status = /^((?:\\\*|[A-Za-z0-9.]+) (?:OK|NO|BAD))( (?:\\\[[^ ]+(?: .*)?\\\]))?/.exec(plain);
  return new RegExp(status === null ? `^${plain}$` : `^${status[1]}${status[2] ?? ''}`, 'i');
}
