import type { Segment } from './framer.ts';

/** The command is not in the grammar; answered BAD (RFC 3501 §7.1.3). Its message is shown to the client. */
export class SyntaxFault extends Error {
  readonly code = 'syntax';
}

// RFC 3501 §9, ATOM-CHAR: printable ASCII but the atom-specials ( ) { SP CTL % * " \ ]
const atomCharacter = /[!#$&'+,\-./0-9:;<=>?@A-Z[^_`a-z|}~]/;
const atomCharacters = table((character) => atomCharacter.test(character));
// ASTRING-CHAR = ATOM-CHAR / resp-specials.
const astringCharacters = table((character) => atomCharacter.test(character) || character === ']');
const listCharacters = table((character) => atomCharacter.test(character) || /[\]%*]/.test(character));
const tagCharacters = table((character) => (atomCharacter.test(character) || character === ']') && character !== '+');

function table(matches: (character: string) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => (matches(String.fromCharCode(code)) ? 1 : 0));
}

const nil = /^nil$/i;

/** Reads one framed command from left to right. Every method takes what it names or throws {@link SyntaxFault}. Linear. */
export class Scanner {
  /** Mailbox names are UTF-8 and nothing else (RFC 9051 §5.1, RFC 6855 §3): the client has enabled it. */
  readonly utf8Names: boolean;
  readonly #segments: readonly Segment[];
  #segment = 0;
  #at = 0;

  constructor(segments: readonly Segment[], utf8Names = false) {
    this.#segments = segments;
    this.utf8Names = utf8Names;
  }

  atEnd(): boolean {
    return this.#code() === undefined && this.#segments[this.#segment + 1] === undefined;
  }

  end(): void {
    if (!this.atEnd()) throw new SyntaxFault('unexpected characters at the end of the command');
  }

  space(): void {
    this.character(' ');
    // Not in the grammar, but a second space is what several programs send, and nothing else can be meant by it.
    while (this.nextIs(' ')) this.#at += 1;
  }

  nextIs(character: string): boolean {
    return this.#code() === character.charCodeAt(0);
  }

  nextIsDigit(): boolean {
    const code = this.#code();
    return code !== undefined && code >= 0x30 && code <= 0x39;
  }

  character(character: string): void {
    if (!this.take(character)) throw new SyntaxFault(`expected "${character}"`);
  }

  /** Whether the character was next; it is gone then. */
  take(character: string): boolean {
    if (!this.nextIs(character)) return false;
    this.#at += 1;
    return true;
  }

  /** Whether this comes next, in any case; nothing is taken. */
  followedBy(text: string): boolean {
    return (
      this.#text()
        .toString('latin1', this.#at, this.#at + text.length)
        .toUpperCase() === text
    );
  }

  skip(characters: number): void {
    this.#at += characters;
  }

  tag(): string {
    return this.#run(tagCharacters, 'a tag');
  }

  atom(): string {
    return this.#run(atomCharacters, 'an atom');
  }

  /** An atom in upper case: what keywords are compared by. */
  keyword(): string {
    return this.atom().toUpperCase();
  }

  /** Letters, digits and `.-_` up to anything else, in upper case: names inside FETCH items, where `[` ends a name. */
  name(): string {
    const text = this.#text();
    const start = this.#at;
    while (this.#at < text.length && isNameCharacter(text[this.#at] ?? 0)) this.#at += 1;
    if (this.#at === start) throw new SyntaxFault('expected a name');
    return text.toString('latin1', start, this.#at).toUpperCase();
  }

  /** nz-number or number, at most `max`. */
  number(max = 0xffffffff): number {
    const text = this.#text();
    const start = this.#at;
    while (this.nextIsDigit() && this.#at - start < 16) this.#at += 1;
    const value = Number(text.toString('latin1', start, this.#at));
    if (this.#at === start || this.nextIsDigit() || value > max) throw new SyntaxFault('expected a number');
    return value;
  }

  /** RFC 7162 §7 mod-sequence-value: 63 bits, of which we count in 53; what is larger is larger than all of ours. */
  modseq(): number {
    const digits = /^[0-9]{1,20}/.exec(this.#text().toString('latin1', this.#at, this.#at + 21))?.[0];
    if (digits === undefined || Number(digits) > 2 ** 63) throw new SyntaxFault('expected a mod-sequence');
    this.#at += digits.length;
    return Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
  }

  astringBytes(): Buffer {
    if (this.nextIs('"')) return this.#quoted();
    if (this.#atLiteral()) return this.literal();
    return Buffer.from(this.#run(astringCharacters, 'a string'), 'latin1');
  }

  astring(): string {
    return this.astringBytes().toString('utf8');
  }

  string(): Buffer {
    return this.nextIs('"') ? this.#quoted() : this.literal();
  }

  nstring(): Buffer | undefined {
    if (this.nextIs('"') || this.#atLiteral()) return this.string();
    if (!nil.test(this.atom())) throw new SyntaxFault('expected a string or NIL');
    return undefined;
  }

  /** list-mailbox: an astring that may hold the wild cards. */
  listMailbox(): string {
    if (this.nextIs('"') || this.#atLiteral()) return this.string().toString('utf8');
    return this.#run(listCharacters, 'a mailbox pattern');
  }

  literal(): Buffer {
    const next = this.#segments[this.#segment + 1];
    if (!this.#atLiteral() || next === undefined) throw new SyntaxFault('expected a literal');
    this.#segment += 2;
    this.#at = 0;
    return next.bytes;
  }

  /** `(a b c)`, also empty. `item` must take something each time. */
  list<T>(item: () => T, maxItems: number): T[] {
    this.character('(');
    const items: T[] = [];
    if (this.take(')')) return items;
    for (;;) {
      items.push(item());
      if (items.length > maxItems) throw new SyntaxFault('the list is too long');
      if (this.take(')')) return items;
      this.space();
    }
  }

  /** Everything up to the next blank, bracket or the end, as it stands: for grammars of their own, such as sequence sets. */
  word(): string {
    const text = this.#text();
    const start = this.#at;
    while (this.#at < text.length && !isWordEnd(text[this.#at] ?? 0)) this.#at += 1;
    if (this.#at === start) throw new SyntaxFault('expected a word');
    return text.toString('latin1', start, this.#at);
  }

  #quoted(): Buffer {
    this.character('"');
    const text = this.#text();
    const out: number[] = [];
    for (; this.#at < text.length; this.#at += 1) {
      let code = text[this.#at] ?? 0;
      if (code === 0x22) {
        this.#at += 1;
        return Buffer.from(out);
      }
      if (code === 0x5c) {
        this.#at += 1;
        code = text[this.#at] ?? 0;
        // RFC 3501 §9 quoted: only the two specials are escaped.
        if (code !== 0x22 && code !== 0x5c) throw new SyntaxFault('only " and \\ may follow a \\ in a quoted string');
      }
      if (code === 0 || code === 0x0d) throw new SyntaxFault('a quoted string holds neither NUL nor CR');
      out.push(code);
    }
    throw new SyntaxFault('the quoted string does not end');
  }

  #run(allowed: Uint8Array, what: string): string {
    const text = this.#text();
    const start = this.#at;
    while (this.#at < text.length && allowed[text[this.#at] ?? 0] === 1) this.#at += 1;
    if (this.#at === start) throw new SyntaxFault(`expected ${what}`);
    return text.toString('latin1', start, this.#at);
  }

  #text(): Buffer {
    const segment = this.#segments[this.#segment];
    return segment?.kind === 'text' ? segment.bytes : Buffer.alloc(0);
  }

  #code(): number | undefined {
    return this.#text()[this.#at];
  }

  #atLiteral(): boolean {
    return this.#code() === undefined && this.#segments[this.#segment + 1]?.kind === 'literal';
  }
}

function isNameCharacter(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a) || code === 0x2e
  );
}

function isWordEnd(code: number): boolean {
  return code === 0x20 || code === 0x28 || code === 0x29;
}
