import { type Scanner, SyntaxFault } from '../wire/scanner.ts';
import { decodedName, mailboxName, sequenceSet } from './arguments.ts';
import { type Command, type ListCommand, type Resync, type StatusItem, statusItems } from './command.ts';

const maxPatterns = 50;
const maxOptions = 20;
// All together: each is matched against every folder name.
const maxPatternCharacters = 1_000;

/** SELECT and EXAMINE with their parameters (RFC 4466 §2.1, RFC 7162 §3.1.8, §3.2.5). */
export function selectCommand(scanner: Scanner, name: 'select' | 'examine'): Command {
  const mailbox = mailboxName(scanner);
  let condstore = false;
  let resync: Resync | undefined;
  if (!scanner.atEnd()) {
    scanner.space();
    if (scanner.atEnd()) return { name, mailbox, condstore, resync };
    scanner.list(() => {
      const parameter = scanner.keyword();
      if (parameter === 'CONDSTORE') condstore = true;
      else if (parameter === 'QRESYNC') resync = resyncParameters(scanner);
      else throw new SyntaxFault(`unknown SELECT parameter ${parameter.slice(0, 40)}`);
    }, maxOptions);
  }
  return { name, mailbox, condstore, resync };
}

function resyncParameters(scanner: Scanner): Resync {
  scanner.space();
  scanner.character('(');
  const uidValidity = scanner.number();
  scanner.space();
  const modseq = scanner.modseq();
  let knownUids: Resync['knownUids'];
  while (scanner.nextIs(' ')) {
    scanner.space();
    if (scanner.nextIs('(')) {
      // Which number the client has for which UID: it would only save us saying what it knows; nothing is lost without.
      scanner.list(() => scanner.word(), 2);
    } else knownUids = sequenceSet(scanner);
  }
  scanner.character(')');
  return { uidValidity, modseq, knownUids };
}

/** RFC 3501 §6.3.3, RFC 6154 §3. A delimiter at the end only says that inferior names will follow. */
export function createCommand(scanner: Scanner): Command {
  const name = mailboxName(scanner);
  const mailbox = name.length > 1 && name.endsWith('/') ? name.slice(0, -1) : name;
  let use: string | undefined;
  if (!scanner.atEnd()) {
    scanner.space();
    if (scanner.atEnd()) return { name: 'create', mailbox, use };
    scanner.list(() => {
      if (scanner.keyword() !== 'USE') throw new SyntaxFault('the only parameter of CREATE is USE');
      scanner.space();
      const uses = scanner.list(() => {
        scanner.character('\\');
        return scanner.atom();
      }, maxOptions);
      // RFC 6154 §3 lets one folder have several; one is what programs ask for.
      if (uses.length > 1) throw new SyntaxFault('a folder has one special use');
      use = uses[0];
    }, 1);
  }
  return { name: 'create', mailbox, use };
}

export function statusCommand(scanner: Scanner): Command {
  const mailbox = mailboxName(scanner);
  scanner.space();
  return { name: 'status', mailbox, items: statusItemList(scanner) };
}

function statusItemList(scanner: Scanner): StatusItem[] {
  return scanner.list(() => {
    const item = scanner.keyword();
    const known = statusItems.find((one) => one === item);
    if (known === undefined) throw new SyntaxFault(`unknown STATUS item ${item.slice(0, 40)}`);
    return known;
  }, maxOptions);
}

export function lsubCommand(scanner: Scanner): Command {
  const reference = mailboxName(scanner);
  scanner.space();
  return { name: 'lsub', reference, pattern: pattern(scanner) };
}

/** LIST, also in the extended form (RFC 5258 §3, RFC 5819, RFC 6154 §3). */
export function listCommand(scanner: Scanner): ListCommand {
  const selection = scanner.nextIs('(') ? options(scanner) : undefined;
  if (selection !== undefined) scanner.space();
  known(selection ?? [], ['SUBSCRIBED', 'SPECIAL-USE', 'REMOTE', 'RECURSIVEMATCH']);
  const reference = mailboxName(scanner);
  scanner.space();
  const several = scanner.nextIs('(');
  const patterns = several ? scanner.list(() => pattern(scanner), maxPatterns) : [pattern(scanner)];
  if (patterns.join('').length > maxPatternCharacters) throw new SyntaxFault('the patterns are too long');
  const plain = scanner.atEnd();
  const give = plain ? { subscribed: false, specialUse: false, status: [] } : returnOptions(scanner);
  const extended = selection !== undefined || several || !plain;
  const subscribed = selection?.includes('SUBSCRIBED') ?? false;
  const specialUse = selection?.includes('SPECIAL-USE') ?? false;
  const recursive = selection?.includes('RECURSIVEMATCH') ?? false;
  // RFC 5258 §3.1: it widens another option and means nothing alone.
  if (recursive && !subscribed && !specialUse) throw new SyntaxFault('RECURSIVEMATCH needs another option');
  return { name: 'list', extended, select: { subscribed, specialUse, recursive }, reference, patterns, give };
}

function returnOptions(scanner: Scanner): ListCommand['give'] {
  scanner.space();
  if (scanner.keyword() !== 'RETURN') throw new SyntaxFault('expected RETURN');
  scanner.space();
  let status: StatusItem[] = [];
  const names = scanner.list(() => {
    const name = scanner.keyword();
    if (name === 'STATUS') {
      scanner.space();
      status = statusItemList(scanner);
    }
    return name;
  }, maxOptions);
  known(names, ['SUBSCRIBED', 'CHILDREN', 'SPECIAL-USE', 'STATUS']);
  return { subscribed: names.includes('SUBSCRIBED'), specialUse: names.includes('SPECIAL-USE'), status };
}

function options(scanner: Scanner): string[] {
  return scanner.list(() => scanner.keyword(), maxOptions);
}

/** RFC 5258 §3: an option that the server does not know is answered BAD. */
function known(names: readonly string[], all: readonly string[]): void {
  const stranger = names.find((name) => !all.includes(name));
  if (stranger !== undefined) throw new SyntaxFault(`unknown option ${stranger.slice(0, 40)}`);
}

function pattern(scanner: Scanner): string {
  const text = scanner.listMailbox();
  if (text.length > maxPatternCharacters) throw new SyntaxFault('the pattern is too long');
  return decodedName(scanner, text);
}
