import { parseDateTime } from '../wire/date-time.ts';
import { decodeMailboxName } from '../wire/mailbox-name.ts';
import { type Scanner, SyntaxFault } from '../wire/scanner.ts';
import { type MessageSet, parseSequenceSet, type SequenceSet } from '../wire/sequence-set.ts';

// Deeper or longer names help nobody; the folder list lies in memory.
const maxMailboxCharacters = 400;
// A folder takes 64 keywords; a list of more than this in one command is an attempt at something else.
const maxFlags = 200;

/** A mailbox name, decoded; INBOX in any case is `INBOX` (RFC 3501 §5.1). */
export function mailboxName(scanner: Scanner): string {
  return decodedName(scanner, scanner.astring());
}

export function decodedName({ utf8Names }: Scanner, text: string): string {
  const name = utf8Names ? wellFormed(text) : decodeMailboxName(text);
  if (name === undefined)
    throw new SyntaxFault(utf8Names ? 'the mailbox name is not UTF-8' : 'the mailbox name is not valid modified UTF-7');
  if (name.length > maxMailboxCharacters) throw new SyntaxFault('the mailbox name is too long');
  return name.toUpperCase() === 'INBOX' ? 'INBOX' : name;
}

function wellFormed(text: string): string | undefined {
  return text.isWellFormed() && !text.includes('\ufffd') ? text : undefined;
}

/** RFC 5182 §2.1: `$` is what the last search saved. */
export function messageSet(scanner: Scanner, by: MessageSet['by']): MessageSet {
  return scanner.take('$') ? { by, set: 'saved' } : { by, set: sequenceSet(scanner) };
}

export function sequenceSet(scanner: Scanner): SequenceSet {
  return parseSequenceSet(scanner.word());
}

/** A flag or keyword (RFC 3501 §9 flag); which of them exist is the folder's affair. */
export function flag(scanner: Scanner): string {
  return scanner.take('\\') ? `\\${scanner.atom()}` : scanner.atom();
}

export function flagList(scanner: Scanner): string[] {
  return scanner.list(() => flag(scanner), maxFlags);
}

export function dateTime(scanner: Scanner): number {
  return parseDateTime(scanner.string().toString('latin1'));
}
