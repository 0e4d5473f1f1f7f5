import { parseDate } from '../wire/date-time.ts';
import { type Scanner, SyntaxFault } from '../wire/scanner.ts';
import { parseSequenceSet, type SequenceSet } from '../wire/sequence-set.ts';
import { flag } from './arguments.ts';

/** RFC 3501 §6.4.4 search keys, the many spellings brought together. */
export type SearchKey =
  | { readonly kind: 'all' }
  | { readonly kind: 'flag'; readonly flag: string; readonly set: boolean }
  | { readonly kind: 'messages'; readonly by: 'sequence' | 'uid'; readonly set: SequenceSet | 'saved' }
  /** RFC 7162 §3.1.5: changed at that modseq or later. */
  | { readonly kind: 'modseq'; readonly from: number }
  /** RFC 8474 §6. */
  | { readonly kind: 'emailid'; readonly id: string }
  | { readonly kind: 'received' | 'sent'; readonly from: number | undefined; readonly before: number | undefined }
  | { readonly kind: 'size'; readonly larger: number | undefined; readonly smaller: number | undefined }
  | { readonly kind: 'header'; readonly field: string; readonly text: string }
  | { readonly kind: 'body' | 'text'; readonly text: string }
  | { readonly kind: 'not'; readonly key: SearchKey }
  | { readonly kind: 'and' | 'or'; readonly keys: readonly SearchKey[] };

export interface SearchProgram {
  /** Upper case; undefined when not named. Only US-ASCII and UTF-8 are understood. */
  readonly charset: string | undefined;
  readonly key: SearchKey;
}

// A person's search has a dozen keys; the bounds keep one command from being a program.
const maxKeys = 500;
const maxDepth = 50;
const dayMs = 86_400_000;

/** The arguments of SEARCH; `begun` is a first word that was read already. */
export function searchProgram(scanner: Scanner, begun: string | undefined): SearchProgram {
  const reader = new KeyReader(scanner);
  const notWord = scanner.nextIs('(') || scanner.nextIsDigit() || scanner.nextIs('*') || scanner.nextIs('$');
  const first = begun ?? (notWord ? undefined : scanner.keyword());
  if (first !== 'CHARSET') return { charset: undefined, key: reader.rest(first) };
  scanner.space();
  const charset = scanner.astring().toUpperCase();
  scanner.space();
  return { charset, key: reader.rest(undefined) };
}

class KeyReader {
  readonly #scanner: Scanner;
  #keys = 0;

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
  }

  rest(first: string | undefined): SearchKey {
    const keys = [first === undefined ? this.#key(0) : this.#named(first, 0)];
    while (!this.#scanner.atEnd()) {
      this.#scanner.space();
      if (this.#scanner.atEnd()) break;
      keys.push(this.#key(0));
    }
    return allOf(keys);
  }

  #key(depth: number): SearchKey {
    this.#keys += 1;
    if (this.#keys > maxKeys || depth > maxDepth) throw new SyntaxFault('the search is too complicated');
    const scanner = this.#scanner;
    if (scanner.nextIs('(')) return allOf(scanner.list(() => this.#key(depth + 1), maxKeys));
    if (scanner.nextIsDigit() || scanner.nextIs('*')) {
      return { kind: 'messages', by: 'sequence', set: parseSequenceSet(scanner.word()) };
    }
    if (scanner.take('$')) return { kind: 'messages', by: 'sequence', set: 'saved' };
    return this.#named(scanner.keyword(), depth);
  }

  #named(name: string, depth: number): SearchKey {
    const simple = simpleKeys[name];
    if (simple !== undefined) return simple;
    this.#scanner.space();
    switch (name) {
      case 'NOT':
        return { kind: 'not', key: this.#key(depth + 1) };
      case 'OR': {
        const left = this.#key(depth + 1);
        this.#scanner.space();
        return { kind: 'or', keys: [left, this.#key(depth + 1)] };
      }
      default:
        return this.#withArgument(name);
    }
  }

  #withArgument(name: string): SearchKey {
    const scanner = this.#scanner;
    switch (name) {
      case 'KEYWORD':
      case 'UNKEYWORD':
        return { kind: 'flag', flag: flag(scanner), set: name === 'KEYWORD' };
      case 'UID':
        if (scanner.take('$')) return { kind: 'messages', by: 'uid', set: 'saved' };
        return { kind: 'messages', by: 'uid', set: parseSequenceSet(scanner.word()) };
      case 'MODSEQ':
        return { kind: 'modseq', from: this.#modseq() };
      case 'EMAILID':
        return { kind: 'emailid', id: scanner.astring() };
      case 'THREADID':
        // RFC 8474 §5.3: we keep no threads, so none has this id.
        scanner.astring();
        return nothing;
      case 'BEFORE':
      case 'ON':
      case 'SINCE':
        return { kind: 'received', ...days(name, this.#date()) };
      case 'SENTBEFORE':
      case 'SENTON':
      case 'SENTSINCE':
        return { kind: 'sent', ...days(name.slice(4), this.#date()) };
      case 'LARGER':
        return { kind: 'size', larger: scanner.number(), smaller: undefined };
      case 'SMALLER':
        return { kind: 'size', larger: undefined, smaller: scanner.number() };
      case 'HEADER': {
        const field = scanner.astring().toLowerCase();
        scanner.space();
        return { kind: 'header', field, text: scanner.astring() };
      }
      case 'BCC':
      case 'CC':
      case 'FROM':
      case 'SUBJECT':
      case 'TO':
        return { kind: 'header', field: name.toLowerCase(), text: scanner.astring() };
      case 'BODY':
        return { kind: 'body', text: scanner.astring() };
      case 'TEXT':
        return { kind: 'text', text: scanner.astring() };
      default:
        throw new SyntaxFault(`unknown search key ${name.slice(0, 40)}`);
    }
  }

  /** RFC 7162 §3.1.5: the flag that may be named is of no account, as we count one modseq for a message. */
  #modseq(): number {
    const scanner = this.#scanner;
    if (scanner.nextIs('"')) {
      scanner.string();
      scanner.space();
      const type = scanner.keyword();
      if (!['PRIV', 'SHARED', 'ALL'].includes(type)) throw new SyntaxFault('expected priv, shared or all');
      scanner.space();
    }
    return scanner.modseq();
  }

  #date(): number {
    return parseDate(this.#scanner.astring());
  }
}

function has(flag: string, set = true): SearchKey {
  return { kind: 'flag', flag, set };
}

// RFC 9051 dropped \Recent and we never set it: nothing is RECENT or NEW, everything is OLD.
const nothing: SearchKey = { kind: 'not', key: { kind: 'all' } };
const simpleKeys: Readonly<Record<string, SearchKey>> = {
  ALL: { kind: 'all' },
  ANSWERED: has('\\Answered'),
  DELETED: has('\\Deleted'),
  DRAFT: has('\\Draft'),
  FLAGGED: has('\\Flagged'),
  SEEN: has('\\Seen'),
  UNANSWERED: has('\\Answered', false),
  UNDELETED: has('\\Deleted', false),
  UNDRAFT: has('\\Draft', false),
  UNFLAGGED: has('\\Flagged', false),
  UNSEEN: has('\\Seen', false),
  NEW: nothing,
  RECENT: nothing,
  OLD: { kind: 'all' },
};

function days(name: string, day: number): { from: number | undefined; before: number | undefined } {
  if (name === 'BEFORE') return { from: undefined, before: day };
  return { from: day, before: name === 'ON' ? day + dayMs : undefined };
}

function allOf(keys: readonly SearchKey[]): SearchKey {
  const [only] = keys;
  if (only === undefined) throw new SyntaxFault('expected a search key');
  return keys.length === 1 ? only : { kind: 'and', keys };
}
