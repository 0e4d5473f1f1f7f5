import { existsSync } from 'node:fs';
import { password } from '../access-fixture.ts';
import { readValues, type Value } from './imap-values.ts';
import { expand, matchesReply, type Variables } from './imaptest-match.ts';
import { type Exchange, type ImaptestScript, readMbox } from './imaptest-script.ts';
import { ScriptClient } from './script-client.ts';

const atom = (text: string): Value => ({ kind: 'atom', text });

/** Plays a script against the server at that TLS port. Resolves with the first difference, or undefined. */
export async function playImaptest(file: string, script: ImaptestScript, port: number): Promise<string | undefined> {
  const player = new Player(file, script);
  try {
    await player.prepare(port);
    for (const exchange of script.exchanges) {
      const problem = await player.play(exchange);
      if (problem !== undefined) return `line ${exchange.line}: ${problem}`;
    }
    return undefined;
  } finally {
    player.close();
  }
}

class Player {
  readonly #script: ImaptestScript;
  readonly #mbox: ReturnType<typeof readMbox>;
  readonly #clients: ScriptClient[] = [];
  /** Per connection, the number that each message had before the command under way. */
  readonly #counts: number[] = [];
  readonly #variables: Variables = new Map([
    ['mailbox', atom('imaptest')],
    ['user', atom('alice@example.org')],
    ['username', atom('alice')],
    ['domain', atom('example.org')],
    ['password', atom(password)],
  ]);
  #appended = 0;
  #tag = 0;

  constructor(file: string, script: ImaptestScript) {
    this.#script = script;
    const own = `${file}.mbox`;
    this.#mbox = readMbox(existsSync(own) ? own : file.replace(/[^/]*$/, 'default.mbox'));
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  async prepare(port: number): Promise<void> {
    const { connections, state, messages } = this.#script;
    for (let number = 1; number <= connections; number += 1) {
      const client = await ScriptClient.connect(port);
      this.#clients.push(client);
      this.#counts.push(0);
      await client.response();
      if (state !== 'nonauth') await this.#setUp(number, `login alice@example.org "${password}"`);
    }
    if (state === 'nonauth' || state === 'auth') return;
    await this.#setUp(1, 'create $mailbox');
    if (state === 'created') return;
    const wanted = messages === 'all' ? this.#mbox.length : messages;
    for (let index = 0; index < wanted; index += 1) await this.#setUp(1, 'append');
    if (state === 'appended') return;
    for (let number = 1; number <= connections; number += 1) await this.#setUp(number, 'select $mailbox');
  }

  async #setUp(connection: number, text: string): Promise<void> {
    const statuses = [{ tag: undefined, status: 'ok' }];
    const commands = [{ tag: undefined, connection, text }];
    const problem = await this.play({ line: 0, connection, commands, expected: [], banned: [], statuses });
    if (problem !== undefined) throw new Error(`the script could not be begun: ${text}: ${problem}`);
  }

  async play({ commands, expected, banned, statuses }: Exchange): Promise<string | undefined> {
    const sent: { tag: string; connection: number; scriptTag: string | undefined }[] = [];
    for (const { tag, connection, text } of commands) {
      const own = `${connection}t${++this.#tag}`;
      this.#variables.set('tag', atom(own));
      sent.push({ tag: own, connection, scriptTag: tag });
      await this.#send(connection, own, text);
    }
    const replies: { values: Value[]; text: string; original: number | undefined }[] = [];
    for (const { tag, connection, scriptTag } of sent) {
      const numbers = Array.from({ length: this.#counts[connection - 1] ?? 0 }, (_, index) => index + 1);
      const found = await this.#replies(connection, tag, numbers);
      replies.push(...found.untagged);
      this.#counts[connection - 1] = numbers.length;
      const wanted = statuses.find((one) => one.tag === scriptTag)?.status;
      if (wanted !== undefined && found.status !== wanted) return `wanted ${wanted}, came ${found.completion}`;
      const code = /^\S+ OK (\[[^\]]*\].*)$/i.exec(found.completion)?.[1];
      if (code !== undefined) replies.push({ values: readValues(`ok ${code}`), text: code, original: undefined });
    }
    for (const want of expected) {
      if (!replies.some(({ values, original }) => matchesReply(want, values, this.#variables, original))) {
        return `no reply is ${shown(want)}; came:\n${replies.map(({ text }) => text).join('\n')}`;
      }
    }
    for (const want of banned) {
      const found = replies.find(({ values, original }) =>
        matchesReply(want, values, new Map(this.#variables), original),
      );
      if (found !== undefined) return `must not come: ${found.text}`;
    }
    return undefined;
  }

  async #replies(
    connection: number,
    tag: string,
    numbers: number[],
  ): Promise<{
    untagged: { values: Value[]; text: string; original: number | undefined }[];
    status: string;
    completion: string;
  }> {
    const untagged: { values: Value[]; text: string; original: number | undefined }[] = [];
    for (;;) {
      const text = await this.#clients[connection - 1]!.response();
      if (text.startsWith(`${tag} `)) {
        return { untagged, status: (text.split(' ')[1] ?? '').toLowerCase(), completion: text };
      }
      if (!text.startsWith('* ')) continue;
      const [, number, event] = /^\* (\d+) (\w+)/.exec(text) ?? [];
      const place = Number(number) - 1;
      untagged.push({ values: readValues(text.slice(2)), text, original: numbers[place] });
      if (event?.toLowerCase() === 'expunge') numbers.splice(place, 1);
      if (event?.toLowerCase() === 'exists') while (numbers.length < Number(number)) numbers.push(numbers.length + 1);
    }
  }

  async #send(connection: number, tag: string, text: string): Promise<void> {
    const client = this.#clients[connection - 1]!;
    const bare = /^append(?: (\S+))?$/i.exec(text);
    if (bare !== null) {
      const { at, message } = this.#mbox[this.#appended++ % this.#mbox.length]!;
      const folder = expand(bare[1] ?? '$mailbox', this.#variables);
      client.send(`${tag} append ${folder} "${imapDate(at)}" {${message.length}+}\r\n${message}\r\n`);
      return;
    }
    // Literals of the script go out without waiting.
    const pieces = text.split(/(~?)\{\{\{\n([^]*?)\n\}\}\}/);
    let line = `${tag} `;
    for (let index = 0; index < pieces.length; index += 3) {
      line += expand(pieces[index] ?? '', this.#variables);
      const script = pieces[index + 2];
      const literal = pieces[index + 1] === '~' ? script : script?.replace(/\r?\n/g, '\r\n');
      if (literal !== undefined) line += `${pieces[index + 1]}{${literal.length}+}\r\n${literal}`;
    }
    client.send(`${line}\r\n`);
  }
}

function shown(values: readonly Value[]): string {
  return values
    .map((value) =>
      value.kind === 'list' ? `(${shown(value.items)})` : value.kind === 'string' ? `"${value.text}"` : value.text,
    )
    .join(' ');
}

function imapDate(at: Date): string {
  const [, day, month, year, time] = /^\w+, (\d+) (\w+) (\d+) ([\d:]+)/.exec(at.toUTCString()) ?? [];
  return `${day}-${month}-${year} ${time} +0000`;
}
