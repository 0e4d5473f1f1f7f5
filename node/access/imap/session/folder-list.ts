import type { FolderInfo, Mailbox } from '../../../mail/mailbox.ts';
import type { Command, ListCommand } from '../command/command.ts';
import { shownName, statusLine } from './folders.ts';
import { type Completion, type LoggedIn, ok, type Session } from './session.ts';

/** LIST and LSUB (RFC 3501 §6.3.8, RFC 5258). The delimiter is `/` everywhere. */

interface Listed {
  readonly name: string;
  /** Absent for a name that is only subscribed to, or only a level above others. */
  readonly info: FolderInfo | undefined;
  readonly subscribed: boolean;
  readonly hasChildren: boolean;
}

export async function list(session: Session, state: LoggedIn, command: ListCommand): Promise<Completion> {
  const { writer } = session.connection;
  // RFC 3501 §6.3.8: an empty pattern asks for the delimiter and the root of the reference.
  if (command.patterns.length === 1 && command.patterns[0] === '') {
    await writer.line('* LIST (\\Noselect) "/" ""');
    return ok('listed');
  }
  const { mailbox } = state.account;
  const matches = matcher(command.reference, command.patterns);
  const all = listedNames(mailbox);
  for (const entry of all.filter(({ name }) => matches(name))) {
    const line = listLine(session, entry, all, command, matches);
    if (line === undefined) continue;
    await writer.line(line);
    if (command.give.status.length > 0 && entry.info !== undefined) {
      const folder = await mailbox.folder(entry.name);
      if (folder !== undefined) await writer.line(statusLine(session, entry.name, folder, command.give.status));
    }
  }
  return ok('listed');
}

function listLine(
  session: Session,
  entry: Listed,
  all: readonly Listed[],
  { extended: written, select, give }: ListCommand,
  matches: (name: string) => boolean,
): string | undefined {
  // RFC 9051 §6.3.9: there every LIST is of the extended form.
  const extended = written || session.enabled.has('IMAP4rev2');
  const wanted = (one: Listed): boolean =>
    (!select.subscribed || one.subscribed) &&
    (!select.specialUse || one.info?.specialUse !== undefined) &&
    (select.subscribed || one.info !== undefined || one.hasChildren);
  // RFC 5258 §3.5: a level is shown for the sake of what lies below it unless that is shown itself.
  const hidden = (one: Listed): boolean => one.name.startsWith(`${entry.name}/`) && wanted(one) && !matches(one.name);
  const below = select.recursive && all.some(hidden);
  if (!wanted(entry) && !below) return undefined;
  const attributes = [
    // RFC 5258 §3: \NonExistent says \Noselect too, to those who know it.
    ...(entry.info === undefined ? [extended ? '\\NonExistent' : '\\Noselect'] : []),
    ...(entry.subscribed && (give.subscribed || select.subscribed) ? ['\\Subscribed'] : []),
    entry.hasChildren ? '\\HasChildren' : '\\HasNoChildren',
    // RFC 6154 §2 lets a plain LIST show them too, which is what most programs look at.
    ...(entry.info?.specialUse === undefined ? [] : [entry.info.specialUse]),
  ];
  const childInfo = below && select.subscribed ? ' ("CHILDINFO" ("SUBSCRIBED"))' : '';
  return `* LIST (${attributes.join(' ')}) "/" ${shownName(session, entry.name)}${childInfo}`;
}

export async function lsub(
  session: Session,
  state: LoggedIn,
  command: Extract<Command, { name: 'lsub' }>,
): Promise<Completion> {
  const { writer } = session.connection;
  const names = listedNames(state.account.mailbox).filter(({ subscribed }) => subscribed);
  const matches = matcher(command.reference, [command.pattern]);
  const shown = new Map<string, string>();
  for (const { name, info } of names) {
    if (matches(name)) shown.set(name, info === undefined ? '(\\Noselect)' : '()');
  }
  // RFC 3501 §6.3.9: with %, a level above a subscribed name is shown, not selectable, when it is not subscribed itself.
  if (command.pattern.endsWith('%')) {
    for (const name of names.flatMap((entry) => levelsAbove(entry.name))) {
      if (matches(name) && !shown.has(name)) shown.set(name, '(\\Noselect)');
    }
  }
  for (const [name, attributes] of shown) await writer.line(`* LSUB ${attributes} "/" ${shownName(session, name)}`);
  return ok('listed');
}

/** Every name there is to list: folders, subscriptions to folders that are gone, and the levels above them. */
function listedNames(mailbox: Mailbox): Listed[] {
  const folders = mailbox.folders();
  const known = new Map(folders.map((info) => [info.name, info]));
  const subscribed = new Set(mailbox.subscriptions());
  const names = new Set([...known.keys(), ...subscribed]);
  for (const name of [...known.keys()].flatMap(levelsAbove)) names.add(name);
  const parents = new Set([...known.keys()].flatMap(levelsAbove));
  const ordered = [...names].sort((a, b) => Number(b === 'INBOX') - Number(a === 'INBOX') || (a < b ? -1 : 1));
  return ordered.map((name) => ({
    name,
    info: known.get(name),
    subscribed: subscribed.has(name),
    hasChildren: parents.has(name),
  }));
}

function levelsAbove(name: string): string[] {
  const levels = name.split('/');
  return levels.slice(1).map((_, index) => levels.slice(0, index + 1).join('/'));
}

/** `*` matches anything, `%` anything within a level (RFC 3501 §6.3.8). Linear in pattern times name, never exponential. */
export function matcher(reference: string, patterns: readonly string[]): (name: string) => boolean {
  const joined = patterns.map((pattern) => canonical(reference + pattern));
  return (name) => joined.some((pattern) => matches(pattern, name));
}

function canonical(pattern: string): string {
  return pattern.replace(/^inbox(?=$|\/)/i, 'INBOX');
}

function matches(pattern: string, name: string): boolean {
  // reachable[i]: the pattern so far can have eaten i characters of the name.
  let reachable = new Uint8Array(name.length + 1);
  reachable[0] = 1;
  for (const character of pattern.split('')) {
    const next = new Uint8Array(name.length + 1);
    for (let at = 0; at <= name.length; at += 1) {
      if (character === '*' || character === '%') {
        const through = at > 0 && next[at - 1] === 1 && (character === '*' || name[at - 1] !== '/');
        if (reachable[at] === 1 || through) next[at] = 1;
      } else if (at > 0 && reachable[at - 1] === 1 && name[at - 1] === character) next[at] = 1;
    }
    reachable = next;
  }
  return reachable[name.length] === 1;
}
