import { domainToUnicode } from 'node:url';
import { type Address, type Domain, parseAddress, parseDomain } from '../../policy/address.ts';
import { type HeaderBlock, readHeaderBlock } from '../header-fields.ts';
import { displayName } from './display-name.ts';
import { readTokens, type Token } from './from-tokens.ts';

/**
 * The one mailbox that a message says it is from (RFC 5322 §3.6.2). Everything that two readers could take differently
 * is `ambiguous`, however sensible one reading may look: what is checked must be what the recipient is shown.
 */
export type Author =
  | { readonly kind: 'single'; readonly address: Address; readonly domain: Domain; readonly name: string }
  | { readonly kind: 'none'; readonly reason: string }
  | { readonly kind: 'ambiguous'; readonly reason: string };

const ambiguous = (reason: string): Author => ({ kind: 'ambiguous', reason });

// RFC 5321 §4.5.3.1.3 gives an address 256 octets; the rest is a display name that nobody reads to its end.
const maxFieldOctets = 2000;
// RFC 5322 §2.1.1. Readers cut, wrap or refuse longer lines, each in its own way.
const maxLineOctets = 998;

/** Looks at the header block of `message`; the body is not read. Linear in the header's length. Never throws. */
export function authorOf(message: Uint8Array, block: HeaderBlock = readHeaderBlock(message)): Author {
  const { fields, strays } = block;
  const from = fields.filter((field) => field.name === 'from');
  const [field] = from;
  if (field === undefined) return { kind: 'none', reason: 'there is no From field' };
  if (from.length > 1) return ambiguous('there are several From fields');
  if (field.odd) return ambiguous('the name of the From field is not written as a field name');
  if (strays.some((at) => at <= field.start && !isMailboxLine(message, at))) {
    return ambiguous('the header may end before the From field');
  }
  return readFrom(message.subarray(field.valueStart, field.end));
}

// The separator of mbox files (RFC 4155) left on top of a message. A reader that takes it for the end of the header sees
// no author, since nothing stands before it; so there are no two authors to choose from.
function isMailboxLine(message: Uint8Array, strayAt: number): boolean {
  return strayAt === 0 && Buffer.from(message.subarray(0, 5)).toString('latin1') === 'From ';
}

/** Reads what stands behind `From:`, with its folds, up to and with the last line end. */
export function readFrom(value: Uint8Array): Author {
  if (value.length > maxFieldOctets) return ambiguous('the From field is too long');
  const raw = Buffer.from(value).toString('latin1');
  if (raw.split('\n').some((line) => line.length > maxLineOctets))
    return ambiguous('a line of the From field is too long');
  const text = decoded(value)
    .replace(/\r?\n$/, '')
    .replace(/\r?\n(?=[ \t])/g, '');
  // Every control character but TAB; a line end that is still there was no fold.
  if (/[^\P{Cc}\t]/u.test(text)) return ambiguous('there is a control character in the From field');
  const tokens = readTokens(text);
  return typeof tokens === 'string' ? ambiguous(tokens) : fromTokens(tokens);
}

function decoded(value: Uint8Array): string {
  try {
    // RFC 6532 §3.2: UTF-8. Byte order marks are kept, so that they are seen below.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value);
  } catch {
    // A display name in an old character set, unlabelled. In an address it is refused below, as U+FFFD.
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(value);
  }
}

function fromTokens(tokens: readonly Token[]): Author {
  const inked = tokens.filter((token) => token.kind !== 'space' && token.kind !== 'comment');
  if (inked.length === 0) return { kind: 'none', reason: 'the From field is empty' };
  const marks = new Set(tokens.filter((token) => token.kind === 'mark').map((token) => token.text));
  if (marks.has(':') || marks.has(';')) return group(inked);
  if (marks.has(',')) return ambiguous('the From field lists several addresses');
  if (!marks.has('@')) return ambiguous('there is no address in the From field');
  return marks.has('<') || marks.has('>') ? namedMailbox(tokens) : bareMailbox(tokens);
}

// RFC 6854 lets a group stand in From. An empty one names nobody; any other is shown differently by each reader.
function group(inked: readonly Token[]): Author {
  const opens = inked.findIndex((token) => token.kind === 'mark');
  const empty = inked[opens]?.text === ':' && inked[opens + 1]?.text === ';' && inked.length === opens + 2;
  return empty
    ? { kind: 'none', reason: 'the From field is an empty group' }
    : ambiguous('the From field holds a group');
}

/** `Name <local@domain>` (RFC 5322 §3.4 name-addr), with nothing but white space and comments behind it. */
function namedMailbox(tokens: readonly Token[]): Author {
  const opens = tokens.findIndex((token) => token.kind === 'mark');
  const inside = tokens.slice(opens, opens + 5);
  const shape = inside.map((token) => (token.kind === 'mark' ? token.text : token.kind)).join(' ');
  // No route (RFC 5322 §4.4 obs-route), no white space, no comment inside the brackets.
  if (shape !== '< atom @ atom >') return ambiguous('the address in the From field is not written plainly');
  const rest = tokens.slice(opens + 5);
  if (rest.some((token) => token.kind !== 'space' && token.kind !== 'comment')) {
    return ambiguous('something stands behind the address in the From field');
  }
  return mailbox(inside[1]?.text ?? '', inside[3]?.text ?? '', displayName(tokens.slice(0, opens)));
}

/** `local@domain` alone, or with a comment that some programs use for the name: `local@domain (Name)`. */
function bareMailbox(tokens: readonly Token[]): Author {
  const at = tokens.findIndex((token) => token.kind === 'mark');
  const shape = tokens
    .map((token) => (token.kind === 'mark' ? token.text : token.kind))
    .filter((kind) => kind !== 'space');
  const local = tokens[at - 1];
  const domain = tokens[at + 1];
  const plain = shape.filter((kind) => kind !== 'comment').join(' ') === 'atom @ atom';
  if (!plain || local?.kind !== 'atom' || domain?.kind !== 'atom') {
    return ambiguous('the address in the From field is not written plainly');
  }
  return mailbox(local.text, domain.text, displayName(tokens.filter((token) => token.kind === 'comment')));
}

function mailbox(local: string, domainText: string, name: ReturnType<typeof displayName>): Author {
  if (name.kind === 'looks-like-address')
    return ambiguous('the display name holds what some programs take for the address');
  // Encoded words are not allowed in an address (RFC 2047 §5), but some readers decode them before they look for it.
  if (`${local}@${domainText}`.includes('=?')) return ambiguous('there is an encoded word in the address');
  const domain = parseDomain(domainText);
  if (domain === undefined || !isWrittenPlainly(domainText, domain)) {
    return ambiguous('what stands behind @ in the From field is not plainly a domain name');
  }
  // Invisible and unassigned characters, and U+FFFD that stands for bytes that are not UTF-8.
  if (/[\p{C}\p{Z}\ufffd]/u.test(local)) return ambiguous('there is an invisible character in the address');
  const parsed = parseAddress(`${local}@${domain}`);
  if (parsed.kind === 'invalid') return ambiguous(`the address in the From field is not one: ${parsed.reason}`);
  return { kind: 'single', address: parsed.address, domain, name: name.text };
}

/**
 * Whether reading `text` as a domain changed nothing but the case of ASCII letters. UTS #46 maps soft hyphens away,
 * ideographic full stops to dots and the Kelvin sign to k; a reader that does not would see another domain.
 */
function isWrittenPlainly(text: string, domain: Domain): boolean {
  const lower = text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return lower === domain || lower === domainToUnicode(domain);
}
