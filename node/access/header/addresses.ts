/** One entry of an ENVELOPE address list (RFC 3501 §7.4.2): a mailbox, or the beginning or end of a group. Text in latin1, as given. */
export type EnvelopeAddress =
  | {
      readonly kind: 'mailbox';
      readonly name: string | undefined;
      readonly route: string | undefined;
      readonly local: string;
      readonly host: string;
    }
  | { readonly kind: 'group-start'; readonly name: string }
  | { readonly kind: 'group-end' };

// An ENVELOPE is shown for whole folders at once; a To field of more people than this is cut.
const maxAddresses = 2_000;

type Token =
  | { readonly kind: 'word' | 'quoted' | 'comment'; readonly text: string }
  | { readonly kind: 'special'; readonly text: string };

/** Reads an address list (RFC 5322 §3.4, the obsolete forms too) and makes the best of what is none. Linear; never throws. */
export function parseAddresses(value: string): readonly EnvelopeAddress[] {
  const out: EnvelopeAddress[] = [];
  let held: Token[] = [];
  let angle: Token[] | undefined;
  let inAngle = false;
  let inGroup = false;
  const flush = (): void => {
    const address = mailbox(held, angle);
    if (address !== undefined) out.push(address);
    held = [];
    angle = undefined;
    inAngle = false;
  };
  for (const token of tokens(value)) {
    if (out.length >= maxAddresses) break;
    const special = token.kind === 'special' ? token.text : '';
    if (inAngle && special !== '>') angle?.push(token);
    else if (special === '>') inAngle = false;
    else if (special === '<') {
      angle = [];
      inAngle = true;
    } else if (special === ',') flush();
    else if (special === ':' && !inGroup) {
      out.push({ kind: 'group-start', name: phrase(held) ?? '' });
      held = [];
      inGroup = true;
    } else if (special === ';' && inGroup) {
      flush();
      out.push({ kind: 'group-end' });
      inGroup = false;
    } else held.push(token);
  }
  flush();
  if (inGroup) out.push({ kind: 'group-end' });
  return out;
}

function mailbox(held: readonly Token[], angle: readonly Token[] | undefined): EnvelopeAddress | undefined {
  if (angle === undefined) {
    const bare = held.filter((token) => token.kind !== 'comment');
    if (bare.length === 0) return undefined;
    // RFC 5322 §A.5: before display names, the person's name was put into a comment behind the address.
    const comment = held.findLast((token) => token.kind === 'comment');
    return { kind: 'mailbox', name: comment?.text, route: undefined, ...addrSpec(bare) };
  }
  const inside = angle.filter((token) => token.kind !== 'comment');
  const colon = inside.findIndex((token) => token.kind === 'special' && token.text === ':');
  const routed = colon > 0 && inside[0]?.text === '@';
  const route = routed ? glued(inside.slice(0, colon)) : undefined;
  return { kind: 'mailbox', name: phrase(held), route, ...addrSpec(routed ? inside.slice(colon + 1) : inside) };
}

function addrSpec(given: readonly Token[]): { local: string; host: string } {
  const at = given.findLastIndex((token) => token.kind === 'special' && token.text === '@');
  // A missing host must not read as NIL, which would begin a group (RFC 3501 §7.4.2).
  if (at === -1) return { local: glued(given), host: '' };
  return { local: glued(given.slice(0, at)), host: glued(given.slice(at + 1)) };
}

function glued(given: readonly Token[]): string {
  return given.map((token) => token.text).join('');
}

function phrase(held: readonly Token[]): string | undefined {
  const words = held.filter((token) => token.kind !== 'comment');
  if (words.length > 0)
    return words
      .map((token) => token.text)
      .join(' ')
      .replaceAll(' .', '.');
  return held.find((token) => token.kind === 'comment')?.text;
}

function* tokens(value: string): Generator<Token> {
  const specials = '<>,:;@.';
  let at = 0;
  while (at < value.length) {
    const character = value[at] ?? '';
    if (character === ' ' || character === '\t') at += 1;
    else if (character === '"') {
      const end = closing(value, at, '"', '"');
      yield { kind: 'quoted', text: unescaped(value.slice(at + 1, end)) };
      at = end + 1;
    } else if (character === '(') {
      const end = closing(value, at, '(', ')');
      yield { kind: 'comment', text: unescaped(value.slice(at + 1, end)).trim() };
      at = end + 1;
    } else if (character === '[') {
      const end = closing(value, at, '[', ']');
      yield { kind: 'word', text: value.slice(at, end + 1) };
      at = end + 1;
    } else if (specials.includes(character)) {
      yield { kind: 'special', text: character };
      at += 1;
    } else {
      let end = at + 1;
      while (end < value.length && !' \t"([<>,:;@.'.includes(value[end] ?? '')) end += 1;
      yield { kind: 'word', text: value.slice(at, end) };
      at = end;
    }
  }
}

/** Index of the character that closes what opens at `start`, or the end of the text. */
function closing(value: string, start: number, opens: string, closes: string): number {
  let depth = 1;
  for (let at = start + 1; at < value.length; at += 1) {
    const character = value[at];
    if (character === '\\') at += 1;
    else if (character === closes) {
      depth -= 1;
      if (depth === 0) return at;
    } else if (character === opens) depth += 1;
  }
  return value.length;
}

function unescaped(text: string): string {
  return text.replace(/\\(.?)/gs, '$1');
}
