import type { Segment } from '../wire/framer.ts';
import { Scanner, SyntaxFault } from '../wire/scanner.ts';
import type { MessageSet } from '../wire/sequence-set.ts';
import { dateTime, flag, flagList, mailboxName, messageSet } from './arguments.ts';
import { type Command, type SearchReturn, searchReturns } from './command.ts';
import { fetchItems } from './fetch-items.ts';
import { createCommand, listCommand, lsubCommand, selectCommand, statusCommand } from './mailbox-commands.ts';
import { searchProgram } from './search-keys.ts';

export type Parsed =
  | { readonly kind: 'command'; readonly tag: string; readonly command: Command }
  /** Without a tag the answer is untagged (RFC 3501 §7.1.3). */
  | { readonly kind: 'bad'; readonly tag: string | undefined; readonly reason: string };

// RFC 2971 §3.3.
const maxIdFields = 30;
const maxTagCharacters = 100;

/** Understands one framed command. Linear; never throws. */
export function parseCommand(segments: readonly Segment[], utf8Names = false): Parsed {
  const scanner = new Scanner(segments, utf8Names);
  let tag: string | undefined;
  try {
    const found = scanner.tag();
    if (found.length > maxTagCharacters) throw new SyntaxFault('the tag is too long');
    scanner.space();
    tag = found;
    const command = commandOf(scanner, scanner.keyword());
    // Blanks before the line end are not in the grammar and harm nobody.
    if (scanner.nextIs(' ')) scanner.space();
    scanner.end();
    return { kind: 'command', tag, command };
  } catch (fault) {
    if (fault instanceof SyntaxFault) return { kind: 'bad', tag, reason: fault.message };
    throw fault;
  }
}

function commandOf(scanner: Scanner, name: string): Command {
  const bare = bareCommands[name];
  if (bare !== undefined) return bare;
  const reader = readers[name];
  if (reader === undefined) throw new SyntaxFault(`unknown command ${name.slice(0, 40)}`);
  scanner.space();
  return reader(scanner);
}

const bareCommands: Readonly<Record<string, Command>> = {
  CAPABILITY: { name: 'capability' },
  NOOP: { name: 'noop' },
  LOGOUT: { name: 'logout' },
  STARTTLS: { name: 'starttls' },
  NAMESPACE: { name: 'namespace' },
  CHECK: { name: 'check' },
  CLOSE: { name: 'close' },
  UNSELECT: { name: 'unselect' },
  IDLE: { name: 'idle' },
  EXPUNGE: { name: 'expunge', uids: undefined },
};

const readers: Readonly<Record<string, (scanner: Scanner) => Command>> = {
  ID: (scanner) => ({ name: 'id', fields: idFields(scanner) }),
  ENABLE: (scanner) => ({ name: 'enable', capabilities: words(scanner) }),
  LOGIN: login,
  AUTHENTICATE: authenticate,
  SELECT: (scanner) => selectCommand(scanner, 'select'),
  EXAMINE: (scanner) => selectCommand(scanner, 'examine'),
  CREATE: createCommand,
  DELETE: (scanner) => ({ name: 'delete', mailbox: mailboxName(scanner) }),
  SUBSCRIBE: (scanner) => ({ name: 'subscribe', mailbox: mailboxName(scanner) }),
  UNSUBSCRIBE: (scanner) => ({ name: 'unsubscribe', mailbox: mailboxName(scanner) }),
  RENAME: rename,
  LIST: listCommand,
  LSUB: lsubCommand,
  STATUS: statusCommand,
  APPEND: append,
  GETQUOTA: (scanner) => ({ name: 'getquota', root: scanner.astring() }),
  GETQUOTAROOT: (scanner) => ({ name: 'getquotaroot', mailbox: mailboxName(scanner) }),
  FETCH: (scanner) => fetch(scanner, 'sequence'),
  STORE: (scanner) => store(scanner, 'sequence'),
  COPY: (scanner) => copy(scanner, 'copy', 'sequence'),
  MOVE: (scanner) => copy(scanner, 'move', 'sequence'),
  SEARCH: (scanner) => search(scanner, 'sequence'),
  UID: uidCommand,
};

const uidReaders: Readonly<Record<string, (scanner: Scanner) => Command>> = {
  FETCH: (scanner) => fetch(scanner, 'uid'),
  STORE: (scanner) => store(scanner, 'uid'),
  COPY: (scanner) => copy(scanner, 'copy', 'uid'),
  MOVE: (scanner) => copy(scanner, 'move', 'uid'),
  SEARCH: (scanner) => search(scanner, 'uid'),
  // RFC 4315 §2.1.
  EXPUNGE: (scanner) => ({ name: 'expunge', uids: messageSet(scanner, 'uid') }),
};

function uidCommand(scanner: Scanner): Command {
  const name = scanner.keyword();
  const reader = uidReaders[name];
  if (reader === undefined) throw new SyntaxFault(`UID ${name.slice(0, 40)} is unknown`);
  scanner.space();
  return reader(scanner);
}

function idFields(scanner: Scanner): readonly (readonly [string, string | undefined])[] {
  if (!scanner.nextIs('(')) {
    scanner.nstring();
    return [];
  }
  return scanner.list(() => {
    const field = scanner.string().toString('utf8');
    scanner.space();
    return [field, scanner.nstring()?.toString('utf8')] as const;
  }, maxIdFields);
}

function words(scanner: Scanner): string[] {
  const all = [scanner.keyword()];
  while (scanner.nextIs(' ') && all.length < maxIdFields) {
    scanner.space();
    all.push(scanner.keyword());
  }
  return all;
}

function login(scanner: Scanner): Command {
  const username = scanner.astring();
  scanner.space();
  return { name: 'login', username, password: scanner.astring() };
}

function authenticate(scanner: Scanner): Command {
  const mechanism = scanner.keyword();
  if (scanner.atEnd()) return { name: 'authenticate', mechanism, initial: undefined };
  scanner.space();
  return { name: 'authenticate', mechanism, initial: scanner.word() };
}

function rename(scanner: Scanner): Command {
  const from = mailboxName(scanner);
  scanner.space();
  return { name: 'rename', from, to: mailboxName(scanner) };
}

function append(scanner: Scanner): Command {
  const mailbox = mailboxName(scanner);
  scanner.space();
  const flags = scanner.nextIs('(') ? flagList(scanner) : undefined;
  if (flags !== undefined) scanner.space();
  const internalDate = scanner.nextIs('"') ? dateTime(scanner) : undefined;
  if (internalDate !== undefined) scanner.space();
  const facts = { name: 'append' as const, mailbox, flags: flags ?? [], internalDate };
  if (!scanner.nextIs('U') && !scanner.nextIs('u')) return { ...facts, message: scanner.literal(), utf8: false };
  // RFC 6855 §4.
  if (scanner.keyword() !== 'UTF8') throw new SyntaxFault('expected a literal or UTF8');
  scanner.space();
  const [message] = scanner.list(() => scanner.literal(), 1);
  if (message === undefined) throw new SyntaxFault('expected a literal');
  return { ...facts, message, utf8: true };
}

function messages(scanner: Scanner, by: MessageSet['by']): MessageSet {
  const set = messageSet(scanner, by);
  scanner.space();
  return set;
}

function fetch(scanner: Scanner, by: MessageSet['by']): Command {
  const set = messages(scanner, by);
  const items = fetchItems(scanner);
  let changedSince: number | undefined;
  let vanished = false;
  if (scanner.nextIs(' ')) {
    scanner.space();
    if (scanner.nextIs('(')) {
      scanner.list(() => {
        const modifier = scanner.keyword();
        if (modifier === 'VANISHED') vanished = true;
        else if (modifier === 'CHANGEDSINCE') {
          scanner.space();
          changedSince = scanner.modseq();
        } else throw new SyntaxFault(`unknown FETCH modifier ${modifier.slice(0, 40)}`);
      }, 2);
    }
  }
  // RFC 7162 §3.2.6.
  if (vanished && (by !== 'uid' || changedSince === undefined))
    throw new SyntaxFault('VANISHED goes with UID FETCH and CHANGEDSINCE');
  return { name: 'fetch', messages: set, items, changedSince, vanished };
}

/** RFC 4731 §3.1: RETURN comes first. */
function search(scanner: Scanner, by: MessageSet['by']): Command {
  const first = scanner.nextIs('R') || scanner.nextIs('r') ? scanner.keyword() : undefined;
  if (first !== 'RETURN') return { name: 'search', by, returns: undefined, program: searchProgram(scanner, first) };
  scanner.space();
  const named = scanner.list(() => {
    const name = scanner.keyword();
    const known = searchReturns.find((one) => one === name);
    if (known === undefined) throw new SyntaxFault(`unknown SEARCH return option ${name.slice(0, 40)}`);
    return known;
  }, maxIdFields);
  scanner.space();
  const returns: ReadonlySet<SearchReturn> = new Set(named.length === 0 ? ['ALL'] : named);
  return { name: 'search', by, returns, program: searchProgram(scanner, undefined) };
}

const storeItem = /^([+-]?)FLAGS(\.SILENT)?$/;

function store(scanner: Scanner, by: MessageSet['by']): Command {
  const set = messages(scanner, by);
  let unchangedSince: number | undefined;
  if (scanner.nextIs('(')) {
    scanner.list(() => {
      if (scanner.keyword() !== 'UNCHANGEDSINCE') throw new SyntaxFault('the only modifier of STORE is UNCHANGEDSINCE');
      scanner.space();
      unchangedSince = scanner.modseq();
    }, 1);
    scanner.space();
  }
  const match = storeItem.exec(scanner.word().toUpperCase());
  if (match === null) throw new SyntaxFault('expected FLAGS, +FLAGS or -FLAGS');
  scanner.space();
  const flags = scanner.nextIs('(') ? flagList(scanner) : bareFlags(scanner);
  const mode = match[1] === '+' ? 'add' : match[1] === '-' ? 'remove' : 'set';
  return { name: 'store', messages: set, mode, silent: match[2] !== undefined, flags, unchangedSince };
}

/** RFC 3501 §9 store-att-flags: flags may also stand without brackets. */
function bareFlags(scanner: Scanner): string[] {
  const flags = [flag(scanner)];
  while (scanner.nextIs(' ') && flags.length < maxIdFields) {
    scanner.space();
    flags.push(flag(scanner));
  }
  return flags;
}

function copy(scanner: Scanner, name: 'copy' | 'move', by: MessageSet['by']): Command {
  return { name, messages: messages(scanner, by), mailbox: mailboxName(scanner) };
}
