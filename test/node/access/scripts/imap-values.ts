/** What responses, and the responses that scripts expect, are made of. */
export type Value =
  | { readonly kind: 'atom' | 'string'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly Value[] };

/** Reads a response without its `* `. Scripts write literals as `{{{`, lines, `}}}`. */
export function readValues(text: string): Value[] {
  const reader = new Reader(text);
  return reader.items('');
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  items(closing: string): Value[] {
    const items: Value[] = [];
    for (;;) {
      while (/[ \r\n]/.test(this.#text[this.#at] ?? '')) this.#at += 1;
      const next = this.#text[this.#at];
      if (next === undefined) return items;
      if (next === closing) {
        this.#at += 1;
        return items;
      }
      items.push(this.#value(next));
    }
  }

  #value(next: string): Value {
    const rest = this.#text.slice(this.#at);
    if (next === '(' || next === '[') {
      this.#at += 1;
      return { kind: 'list', items: this.items(next === '(' ? ')' : ']') };
    }
    if (next === '"') {
      const match = /^"((?:[^"\\]|\\.)*)"/s.exec(rest);
      if (match === null) throw new Error(`a string without end: ${rest.slice(0, 80)}`);
      this.#at += match[0].length;
      return { kind: 'string', text: (match[1] ?? '').replace(/\\(.)/gs, '$1') };
    }
    const script = /^~?\{\{\{\n/.exec(rest);
    if (script !== null) {
      const end = rest.indexOf('\n}}}');
      this.#at += end + 4;
      const text = rest.slice(script[0].length, end);
      // `~{{{` is binary, which has no lines.
      return { kind: 'string', text: next === '~' ? text : crlf(text) };
    }
    const literal = /^~?\{(\d+)\}\r\n/.exec(rest);
    if (literal !== null) {
      const from = literal[0].length;
      this.#at += from + Number(literal[1]);
      return { kind: 'string', text: rest.slice(from, from + Number(literal[1])) };
    }
    // `BODY[HEADER.FIELDS (FROM)]<0>` and `${mailbox}` are one word.
    const word = /^(?:\[[^\]]*\]|\{[^}]*\}|\$!ignore=[^ )]*|[^ ()[\]\r\n])+/.exec(rest);
    const taken = word?.[0] ?? next;
    this.#at += taken.length;
    return { kind: 'atom', text: taken };
  }
}

/** Scripts have the line ends of the file system; what has CR already stays. */
export function crlf(text: string): string {
  return text.replace(/\r?\n/g, '\r\n');
}
