import { readFileSync } from 'node:fs';
import { readValues, type Value } from './imap-values.ts';

/** One command of an imaptest script and what must, and must not, be answered. */
export interface Exchange {
  readonly line: number;
  readonly connection: number;
  /** With explicit tags several commands go out at once. */
  readonly commands: readonly {
    readonly tag: string | undefined;
    readonly connection: number;
    readonly text: string;
  }[];
  readonly expected: readonly (readonly Value[])[];
  readonly banned: readonly (readonly Value[])[];
  /** By tag, or the only one; undefined takes any. */
  readonly statuses: readonly { readonly tag: string | undefined; readonly status: string | undefined }[];
}

export interface ImaptestScript {
  readonly capabilities: readonly string[];
  readonly connections: number;
  readonly messages: number | 'all';
  readonly state: 'nonauth' | 'auth' | 'created' | 'appended' | 'selected';
  readonly exchanges: readonly Exchange[];
  /** Lines that are no form of the README: such a script cannot be played. */
  readonly strange: readonly number[];
}

type Line = { readonly number: number; readonly text: string };

/** Reads a script of Dovecot's imaptest (the format is in the suite's README). */
export function readImaptest(file: string): ImaptestScript {
  const [header, ...rest] = logicalLines(readFileSync(file, 'latin1'));
  const settings = new Map<string, string>();
  let at = 0;
  const all = header === undefined ? [] : [header, ...rest];
  for (; at < all.length && all[at]!.text !== ''; at += 1) {
    const [, name, value] = /^(\w+): *(.*)$/.exec(all[at]!.text) ?? [];
    if (name !== undefined) settings.set(name, value ?? '');
  }
  const count = settings.get('messages') ?? 'all';
  return {
    capabilities: (settings.get('capabilities') ?? '')
      .toUpperCase()
      .split(' ')
      .filter((word) => word !== ''),
    connections: Number(settings.get('connections') ?? 1),
    messages: count === 'all' ? 'all' : Number(count),
    state: (settings.get('state') ?? 'selected') as ImaptestScript['state'],
    ...exchangesOf(all.slice(at).filter(({ text }) => text !== '' && !text.startsWith('#'))),
  };
}

/** Lines, with `{{{ … }}}` kept in the line that it begins on. */
function logicalLines(text: string): Line[] {
  const lines: Line[] = [];
  let open: { number: number; text: string } | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    if (open !== undefined) {
      open.text += `\n${line}`;
      if (line.startsWith('}}}') && !line.endsWith('{{{')) {
        lines.push(open);
        open = undefined;
      }
    } else if (line.endsWith('{{{')) open = { number: index + 1, text: line };
    else lines.push({ number: index + 1, text: line });
  }
  return lines;
}

const command = /^(?:(\d+) )?(ok|no|bad|"") ([^]*)$/i;
const tagged = /^(?:(\d+) )?(tag\w*) ([^]*)$/i;

function exchangesOf(lines: readonly Line[]): Pick<ImaptestScript, 'exchanges' | 'strange'> {
  const exchanges: Exchange[] = [];
  const strange: number[] = [];
  let open:
    | { -readonly [key in keyof Exchange]: Exchange[key] extends readonly (infer T)[] ? T[] : Exchange[key] }
    | undefined;
  for (const { number, text } of lines) {
    const plain = command.exec(text);
    const pipelined = tagged.exec(text);
    if (plain !== null) {
      const connection = Number(plain[1] ?? 1);
      const status = plain[2] === '""' ? undefined : (plain[2] ?? '').toLowerCase();
      open = {
        line: number,
        connection,
        commands: [{ tag: undefined, connection, text: plain[3] ?? '' }],
        expected: [],
        banned: [],
        statuses: [{ tag: undefined, status }],
      };
      exchanges.push(open);
    } else if (pipelined !== null) {
      const [, where, tag = '', what = ''] = pipelined;
      const connection = Number(where ?? 1);
      if (/^(ok|no|bad)$/i.test(what)) open?.statuses.push({ tag, status: what.toLowerCase() });
      else {
        if (open === undefined || open.statuses.length > 0) {
          open = { line: number, connection, commands: [], expected: [], banned: [], statuses: [] };
          exchanges.push(open);
        }
        open.commands.push({ tag, connection, text: what });
      }
    } else if (text.startsWith('* ')) open?.expected.push(readValues(text.slice(2)));
    else if (text.startsWith('! ')) open?.banned.push(readValues(text.slice(2)));
    // `? ` may come or not.
    else if (!text.startsWith('? ')) strange.push(number);
  }
  return { exchanges, strange };
}

/** The messages of an mbox, with the time of their `From ` lines. */
export function readMbox(file: string): { readonly at: Date; readonly message: string }[] {
  const parts = readFileSync(file, 'latin1')
    .split(/^From /m)
    .slice(1);
  return parts.map((part, index) => {
    const [first = ''] = part.split('\n', 1);
    const at = new Date(`${first.replace(/^\S+\s+/, '')} UTC`);
    const body = part.slice(first.length + 1);
    // The blank line before the next `From ` is the mbox's.
    return { at, message: (index < parts.length - 1 ? body.replace(/\n$/, '') : body).replace(/\r?\n/g, '\r\n') };
  });
}
