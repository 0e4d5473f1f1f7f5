/** What the value of an address field is made of. `atom` includes dots; `mark` is one of `< > , ; : @`. */
export interface Token {
  readonly kind: 'atom' | 'quoted' | 'comment' | 'space' | 'mark';
  /** For quoted strings and comments: what is inside, with quoted pairs resolved. */
  readonly text: string;
}

// In a comment these make readers that know comments see another field than readers that do not.
const notInComment = /[()<>@,;:"\\]/;
const space = /[ \t]+/y;
const mark = /[<>,;:@]/y;
const comment = /\(([^()]*)\)/y;
// RFC 5322 §3.2.4; each character is read by exactly one branch, so that this cannot backtrack.
const quoted = /"((?:[^"\\]|\\.)*)"/sy;
// Everything but RFC 5322 §3.2.3 specials (the dot is kept in) and white space.
const atom = /[^\s()<>[\]:;@\\,"]+/uy;

const kinds = [
  ['space', space],
  ['mark', mark],
  ['comment', comment],
  ['quoted', quoted],
  ['atom', atom],
] as const;

/** The tokens of an unfolded field value, or why it cannot be read. One pass, no backtracking, no nesting. */
export function readTokens(text: string): readonly Token[] | string {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const token = tokenAt(text, at);
    if (typeof token === 'string') return token;
    at += token.length;
    tokens.push(token);
  }
  return tokens;
}

function tokenAt(text: string, at: number): (Token & { readonly length: number }) | string {
  for (const [kind, pattern] of kinds) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) continue;
    const inside = match[1] ?? match[0];
    if (kind === 'comment' && notInComment.test(inside))
      return 'there is a comment that can be misread in the From field';
    return { kind, text: kind === 'quoted' ? inside.replace(/\\(.)/gs, '$1') : inside, length: match[0].length };
  }
  return unreadable(text[at] ?? '');
}

function unreadable(character: string): string {
  switch (character) {
    case '"':
      return 'a quotation mark in the From field is not closed';
    case '(':
    case ')':
      return 'there is a comment that can be misread in the From field';
    default:
      return `there is a character in the From field that does not belong there: ${JSON.stringify(character)}`;
  }
}
