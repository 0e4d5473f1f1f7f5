import { type Scanner, SyntaxFault } from '../wire/scanner.ts';
import { decodedName, mailboxName } from './arguments.ts';
import type { Command, ListCommand, StatusItem } from './command.ts';

const maxPatterns = 50;
const maxOptions = 20;
// All together: each is matched against every folder name.
const maxPatternCharacters = 1_000;
const statusItems: readonly string[] = ['MESSAGES', 'RECENT', 'UIDNEXT', 'UIDVALIDITY', 'UNSEEN', 'SIZE', 'DELETED'];

export function statusCommand(scanner: Scanner): Command {
  const mailbox = mailboxName(scanner);
  scanner.space();
  return { name: 'status', mailbox, items: statusItemList(scanner) };
}

function statusItemList(scanner: Scanner): StatusItem[] {
  return scanner.list(() => {
    const item = scanner.keyword();
    if (!statusItems.includes(item)) throw new SyntaxFault(`unknown STATUS item ${item.slice(0, 40)}`);
    return item as StatusItem;
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
  return decodedName(text);
}
