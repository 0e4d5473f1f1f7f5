import type { Reply } from '../../../policy/policy.ts';
import { replies } from '../replies.ts';

export type Notify = 'NEVER' | 'SUCCESS' | 'FAILURE' | 'DELAY';

/** What a MAIL command may say beside its path. */
export interface MailParameters {
  /** RFC 1870: what the client says; 0 where it says nothing. */
  readonly size: number;
  /** RFC 6531. */
  readonly utf8: boolean;
  /** RFC 3461 §4.3, §4.4; decoded. */
  readonly ret?: 'FULL' | 'HDRS';
  readonly envid?: string;
  /** RFC 8689 §2. */
  readonly requireTls: boolean;
}

/** What a RCPT command may say beside its path (RFC 3461 §4.1, §4.2). */
export interface RcptParameters {
  /** Empty where nothing was said. */
  readonly notify: readonly Notify[];
  /** As written: address type, semicolon, xtext. */
  readonly orcpt?: string;
}

export type Checked<Value> =
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'wrong'; readonly reply: Reply };

// RFC 3461 §4.2, §4.4: a parameter's longest value.
const maxOrcptChars = 500;
const maxEnvidChars = 100;
// RFC 5321 §4.1.2 esmtp-keyword and esmtp-value, the latter with the characters beyond ASCII that RFC 6531 §3.3 adds.
const keyword = /^[A-Z0-9][A-Z0-9-]*$/;
const value = /^[\x21-\x3c\x3e-\x7e\u{80}-\u{10ffff}]+$/u;

const wrong = (reply: Reply): { readonly kind: 'wrong'; readonly reply: Reply } => ({ kind: 'wrong', reply });

/** Keywords in capitals with their values, in order; undefined where the text does not keep to the grammar or says a thing twice. */
export function splitParameters(text: string): ReadonlyMap<string, string | undefined> | undefined {
  const found = new Map<string, string | undefined>();
  for (const part of text.split(' ')) {
    // More than one blank between two parameters does no harm.
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = (equals < 0 ? part : part.slice(0, equals)).toUpperCase();
    const said = equals < 0 ? undefined : part.slice(equals + 1);
    if (!keyword.test(name) || (said !== undefined && !value.test(said)) || found.has(name)) return undefined;
    found.set(name, said);
  }
  return found;
}

/** Parameters of MAIL. Those of extensions that are not offered are unknown (RFC 5321 §4.1.1.11: 555). */
export function mailParameters(text: string): Checked<MailParameters> {
  const found = splitParameters(text);
  if (found === undefined) return wrong(replies.badParameters);
  let made: MailParameters = { size: 0, utf8: false, requireTls: false };
  for (const [name, said] of found) {
    const next = withMailParameter(made, name, said);
    if (next === 'unknown') return wrong(replies.unknownParameter);
    if (next === 'bad') return wrong(replies.badParameters);
    made = next;
  }
  return { kind: 'value', value: made };
}

function withMailParameter(
  made: MailParameters,
  name: string,
  said: string | undefined,
): MailParameters | 'bad' | 'unknown' {
  switch (name) {
    case 'SIZE':
      // RFC 1870 §3: up to 20 digits.
      return said !== undefined && /^\d{1,20}$/.test(said) ? { ...made, size: Number(said) } : 'bad';
    case 'BODY':
      // RFC 6152. BINARYMIME (RFC 3030) is not offered: mail programs read lines.
      if (/^BINARYMIME$/i.test(said ?? '')) return 'unknown';
      return /^(?:7BIT|8BITMIME)$/i.test(said ?? '') ? made : 'bad';
    case 'SMTPUTF8':
      return said === undefined ? { ...made, utf8: true } : 'bad';
    case 'REQUIRETLS':
      return said === undefined ? { ...made, requireTls: true } : 'bad';
    case 'RET': {
      const ret = said?.toUpperCase();
      return ret === 'FULL' || ret === 'HDRS' ? { ...made, ret } : 'bad';
    }
    case 'ENVID': {
      const envid = said !== undefined && said.length <= maxEnvidChars ? fromXtext(said) : undefined;
      return envid === undefined ? 'bad' : { ...made, envid };
    }
    default:
      return 'unknown';
  }
}

/** Parameters of RCPT. */
export function rcptParameters(text: string): Checked<RcptParameters> {
  const found = splitParameters(text);
  if (found === undefined) return wrong(replies.badParameters);
  let made: RcptParameters = { notify: [] };
  for (const [name, said] of found) {
    if (name === 'NOTIFY') {
      const notify = said === undefined ? undefined : notifyOf(said);
      if (notify === undefined) return wrong(replies.badParameters);
      made = { ...made, notify };
    } else if (name === 'ORCPT') {
      if (said === undefined || !isOrcpt(said)) return wrong(replies.badParameters);
      made = { ...made, orcpt: said };
    } else return wrong(replies.unknownParameter);
  }
  return { kind: 'value', value: made };
}

/** RFC 3461 §4.1: NEVER alone, or a list of the others. */
function notifyOf(said: string): readonly Notify[] | undefined {
  const words = said.toUpperCase().split(',');
  if (words.length === 1 && words[0] === 'NEVER') return ['NEVER'];
  const known = words.filter((word): word is Notify => word === 'SUCCESS' || word === 'FAILURE' || word === 'DELAY');
  return known.length === words.length && new Set(words).size === words.length ? known : undefined;
}

/** RFC 3461 §4.2, and RFC 6533 §3 for the type `utf-8`. */
function isOrcpt(said: string): boolean {
  if (said.length > maxOrcptChars) return false;
  const [, type = '', address = ''] = /^([a-z0-9-]{1,32});(.+)$/is.exec(said) ?? [];
  if (type === '') return false;
  if (type.toLowerCase() === 'utf-8') return /^[^\s+=]+$/u.test(address);
  return fromXtext(address) !== undefined;
}

/** RFC 3461 §4: `+` and two hexadecimal digits stand for a character; undefined where that is not kept, or it is not printable ASCII. */
export function fromXtext(text: string): string | undefined {
  if (!/^(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})+$/.test(text)) return undefined;
  const plain = text.replace(/\+([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return /^[\x20-\x7e]+$/.test(plain) ? plain : undefined;
}
