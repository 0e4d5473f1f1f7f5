/** A structured MIME field: `value; name=value; …` (RFC 2045 §5.1, RFC 2183 §2). Names in lower case, values as given. */
export interface Parameterised {
  readonly value: string;
  readonly parameters: readonly (readonly [name: string, value: string])[];
}

// A structure response repeats them for every part; nobody needs more.
const maxParameters = 64;

/** Reads what it can and ignores the rest. Linear; never throws. */
export function parseParameterised(text: string): Parameterised {
  const cursor = new Cursor(text);
  const value = cursor.until(';').toLowerCase();
  const parameters: [string, string][] = [];
  while (cursor.skip(';') && parameters.length < maxParameters) {
    const name = cursor.until('=', ';').toLowerCase();
    if (!cursor.skip('=')) continue;
    const given = cursor.value();
    if (name !== '') parameters.push([name, given]);
    cursor.until(';');
  }
  return { value, parameters };
}

export interface ContentType {
  readonly type: string;
  readonly subtype: string;
  readonly parameters: readonly (readonly [name: string, value: string])[];
}

const plain: ContentType = { type: 'text', subtype: 'plain', parameters: [['charset', 'us-ascii']] };
const slashed = /^([^\s/]+)\s*\/\s*([^\s/]+)$/;

/** The Content-Type of a part: what a missing one means depends on where it stands (RFC 2046 §5.1.5); a broken one is text (RFC 2045 §5.2). */
export function parseContentType(text: string | undefined, inDigest: boolean): ContentType {
  if (text === undefined) return inDigest ? { type: 'message', subtype: 'rfc822', parameters: [] } : plain;
  const { value, parameters } = parseParameterised(text);
  const match = slashed.exec(value);
  if (match === null) return plain;
  return { type: match[1] ?? '', subtype: match[2] ?? '', parameters };
}

export function parameter(type: { parameters: ContentType['parameters'] }, name: string): string | undefined {
  return type.parameters.find(([known]) => known === name)?.[1];
}

/** Walks over a field value; comments and blanks between tokens are nothing. */
class Cursor {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  skip(character: string): boolean {
    this.#blanks();
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  /** Text up to one of the characters, not looking inside quoted strings and comments (which are dropped). */
  until(...stops: string[]): string {
    const pieces: string[] = [];
    for (;;) {
      this.#blanks();
      const character = this.#text[this.#at];
      if (character === undefined || stops.includes(character)) return pieces.join('');
      if (character === '"') pieces.push(this.#quoted());
      else {
        pieces.push(character);
        this.#at += 1;
      }
    }
  }

  value(): string {
    this.#blanks();
    if (this.#text[this.#at] === '"') return this.#quoted();
    // Unquoted values with characters that ask for quotes are common; only `;` and blanks surely end them.
    const rest = /[;\s]|$/g;
    rest.lastIndex = this.#at;
    const end = rest.exec(this.#text)?.index ?? this.#text.length;
    const value = this.#text.slice(this.#at, end);
    this.#at = end;
    return value;
  }

  #quoted(): string {
    const out: string[] = [];
    this.#at += 1;
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at] ?? '';
      this.#at += 1;
      if (character === '"') break;
      if (character === '\\') {
        out.push(this.#text[this.#at] ?? '');
        this.#at += 1;
      } else out.push(character);
    }
    return out.join('');
  }

  #blanks(): void {
    for (;;) {
      const character = this.#text[this.#at];
      if (character === '(') this.#comment();
      else if (character === ' ' || character === '\t') this.#at += 1;
      else return;
    }
  }

  #comment(): void {
    let depth = 0;
    for (; this.#at < this.#text.length; this.#at += 1) {
      const character = this.#text[this.#at];
      if (character === '\\') this.#at += 1;
      else if (character === '(') depth += 1;
      else if (character === ')') depth -= 1;
      if (depth === 0) {
        this.#at += 1;
        return;
      }
    }
  }
}
