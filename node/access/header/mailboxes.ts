/**
 * The addresses of a From or Sender field, strictly read (RFC 5322 §3.4): mailboxes, with comments and encoded names, but
 * no groups, no routes, nothing obsolete. What cannot be read in exactly one way gives undefined: whose mail it is
 * hangs on it, and another parser must not see somebody else there. Linear; never throws.
 */
export function strictMailboxes(value: string): readonly string[] | undefined {
  const reader = new Reader(value);
  const found: string[] = [];
  for (;;) {
    const address = reader.mailbox();
    if (address === undefined || found.length >= maxAuthors) return undefined;
    found.push(address);
    if (reader.atEnd()) return found;
    if (!reader.take(',')) return undefined;
  }
}

const maxAuthors = 50;
const maxCommentDepth = 20;
// RFC 5322 §3.2.3 atext and RFC 6532 §3.2.
const atext = /[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u{80}-\u{10ffff}-]/u;

class Reader {
  readonly #characters: readonly string[];
  #at = 0;

  constructor(value: string) {
    this.#characters = Array.from(value);
  }

  atEnd(): boolean {
    return this.#blanks() && this.#at === this.#characters.length;
  }

  take(character: string): boolean {
    if (!this.#blanks() || this.#characters[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  /** addr-spec, or a display name and an addr-spec in angle brackets. */
  mailbox(): string | undefined {
    const local = this.#word();
    if (local === undefined) return this.#inAngles();
    if (this.take('@')) return this.#address(local);
    // RFC 5322 §4.1: dots between the words of a name are obsolete and everywhere.
    while (this.take('.') || this.#word() !== undefined);
    return this.#inAngles();
  }

  #inAngles(): string | undefined {
    if (!this.take('<')) return undefined;
    const local = this.#word();
    if (local === undefined || !this.take('@')) return undefined;
    const address = this.#address(local);
    return this.take('>') ? address : undefined;
  }

  #address(local: string): string | undefined {
    const domain = this.#word();
    if (domain === undefined || domain.startsWith('"') || local.startsWith('"')) return undefined;
    return `${local}@${domain}`;
  }

  /** A dot-atom, or a quoted string with its quotes. */
  #word(): string | undefined {
    if (!this.#blanks()) return undefined;
    const start = this.#at;
    if (this.#characters[start] === '"') return this.#quoted();
    while (this.#at < this.#characters.length && this.#isAtomText(this.#at, start)) this.#at += 1;
    return this.#at === start ? undefined : this.#characters.slice(start, this.#at).join('');
  }

  #isAtomText(at: number, start: number): boolean {
    const character = this.#characters[at] ?? '';
    if (character !== '.') return atext.test(character);
    return at > start && this.#characters[at - 1] !== '.' && atext.test(this.#characters[at + 1] ?? '');
  }

  #quoted(): string | undefined {
    const start = this.#at;
    for (this.#at += 1; this.#at < this.#characters.length; this.#at += 1) {
      const character = this.#characters[this.#at];
      if (character === '\\') this.#at += 1;
      else if (character === '"') {
        this.#at += 1;
        return this.#characters.slice(start, this.#at).join('');
      }
    }
    return undefined;
  }

  /** Steps over blanks and comments; false where a comment does not end. */
  #blanks(): boolean {
    let depth = 0;
    for (; this.#at < this.#characters.length; this.#at += 1) {
      const character = this.#characters[this.#at];
      if (character === '(') depth += 1;
      else if (depth > 0 && character === ')') depth -= 1;
      else if (depth > 0 && character === '\\') this.#at += 1;
      else if (depth === 0 && character !== ' ' && character !== '\t') return true;
      if (depth > maxCommentDepth) return false;
    }
    return depth === 0;
  }
}
