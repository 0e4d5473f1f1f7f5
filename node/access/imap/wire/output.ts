/** Strings as a server sends them (RFC 3501 §4.3). Text of messages is held as latin1: one character, one octet. */

// What fits between quotes: printable ASCII; longer than this is a literal, so that a client's line buffer holds.
const quotable = /^[\x20-\x7e]{0,1000}$/;

/** A quoted string where the octets allow it, else a literal. */
export function string(latin1: string): string {
  if (quotable.test(latin1)) return quoted(latin1);
  return `{${latin1.length}}\r\n${latin1}`;
}

/** Only for text known to be printable ASCII, or UTF-8 where the client has enabled it. */
export function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

export function nstring(latin1: string | undefined): string {
  return latin1 === undefined ? 'NIL' : string(latin1);
}

/** A mailbox name in its wire form: bare when it is an atom, else a string. */
export function astring(text: string): string {
  return /^[A-Za-z0-9._/+&,-]+$/.test(text) && !/^nil$/i.test(text) ? text : string(latin1Of(text));
}

/** The octets of UTF-8 as one character each. */
export function latin1Of(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
