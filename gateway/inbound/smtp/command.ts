import type { Reply } from '../../../policy/policy.ts';
import { replies } from '../replies.ts';
import { type MailParameters, mailParameters, type RcptParameters, rcptParameters } from './parameters.ts';

export interface Mail extends MailParameters {
  /** The reverse-path without its brackets; empty for the null sender. */
  readonly path: string;
}

export interface Rcpt extends RcptParameters {
  readonly path: string;
}

/** One line of a client, understood (RFC 5321 §4.1.1). */
export type Command =
  | { readonly verb: 'EHLO' | 'HELO'; readonly name: string }
  | { readonly verb: 'MAIL'; readonly mail: Mail }
  | { readonly verb: 'RCPT'; readonly rcpt: Rcpt }
  | { readonly verb: 'BDAT'; readonly octets: number; readonly last: boolean }
  | { readonly verb: 'DATA' | 'RSET' | 'NOOP' | 'QUIT' | 'VRFY' | 'EXPN' | 'HELP' | 'STARTTLS' }
  /** Not to be understood; `fatal`: nor is it known where the next command begins. */
  | { readonly verb: 'wrong'; readonly reply: Reply; readonly fatal?: true };

// RFC 5321 §4.5.3.1.3: 256 octets with the brackets. A return path that we gave out is longer than what it stands for, and RFC 5321 §4.5.3.1
// asks to take more where that is possible: local part and domain have limits of their own (policy/address.ts).
const maxPathChars = 1_000;
// RFC 5321 §4.5.3.1.2.
const maxNameChars = 255;

const wrong = (reply: Reply): Command => ({ verb: 'wrong', reply });
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** What a line without its CRLF says. Linear in its length, which the reader has bounded; never throws. */
export function parseCommand(line: Uint8Array): Command {
  let text: string;
  try {
    text = utf8.decode(line);
  } catch {
    return wrong(replies.notUtf8);
  }
  if (line.some((octet) => octet < 0x20 || octet === 0x7f)) return wrong(replies.controlCharacters);
  const blank = text.indexOf(' ');
  const verb = (blank < 0 ? text : text.slice(0, blank)).toUpperCase();
  const rest = blank < 0 ? '' : text.slice(blank + 1).trim();
  switch (verb) {
    case 'EHLO':
    case 'HELO':
      // Names that are no domains are common and say nothing; what could be taken for more than a name is none.
      return /^[\x21-\x7e]+$/.test(rest) && rest.length <= maxNameChars ? { verb, name: rest } : wrong(replies.badName);
    case 'MAIL':
      return mailCommand(rest);
    case 'RCPT':
      return rcptCommand(rest);
    case 'BDAT':
      return bdatCommand(rest);
    case 'DATA':
    case 'RSET':
    case 'QUIT':
    case 'STARTTLS':
      return rest === '' ? { verb } : wrong(replies.noArgument);
    case 'NOOP':
    case 'HELP':
      return { verb };
    case 'VRFY':
    case 'EXPN':
      return rest === '' ? wrong(replies.argumentMissing) : { verb };
    case 'GET':
    case 'POST':
    case 'PUT':
    case 'HEAD':
    case 'CONNECT':
    case 'OPTIONS':
      // A web browser that was sent here by somebody else: its text is not his.
      return { verb: 'wrong', reply: replies.notHttp, fatal: true };
    default:
      return wrong(replies.unknownCommand);
  }
}

function mailCommand(rest: string): Command {
  const path = pathAfter(rest, /^FROM: {0,3}</i);
  if (path === undefined) return wrong(replies.badMail);
  const parameters = mailParameters(path.rest);
  if (parameters.kind === 'wrong') return wrong(parameters.reply);
  return { verb: 'MAIL', mail: { path: path.path, ...parameters.value } };
}

function rcptCommand(rest: string): Command {
  const path = pathAfter(rest, /^TO: {0,3}</i);
  if (path === undefined || path.path === '') return wrong(replies.badRcpt);
  const parameters = rcptParameters(path.rest);
  if (parameters.kind === 'wrong') return wrong(parameters.reply);
  return { verb: 'RCPT', rcpt: { path: path.path, ...parameters.value } };
}

// RFC 3030 §2.
function bdatCommand(rest: string): Command {
  const [, octets = '', last] = /^(\d{1,15})( +LAST)?$/i.exec(rest) ?? [];
  // Whatever follows could be octets or commands: nobody can tell.
  if (octets === '') return { verb: 'wrong', reply: replies.badBdat, fatal: true };
  return { verb: 'BDAT', octets: Number(octets), last: last !== undefined };
}

/**
 * A path in brackets and what follows it. A blank after the colon is an old mistake of many (RFC 5321 §3.3 warns of it) and hides nothing. Source
 * routes are dropped (RFC 5321 §4.1.1.3, appendix C); a quoted local part is read to its end, so that a bracket in it is none.
 */
function pathAfter(text: string, begin: RegExp): { readonly path: string; readonly rest: string } | undefined {
  const [opening] = begin.exec(text) ?? [];
  if (opening === undefined) return undefined;
  const inner = text.slice(opening.length, opening.length + maxPathChars);
  const found =
    /^(?:@[^\s<>":,]{1,255}(?:,@[^\s<>":,]{1,255}){0,20}:)?((?:"(?:[^"\\]|\\.)*"|[^\s<>"])*)>(?= |$)/su.exec(inner);
  if (found === null) return undefined;
  return { path: found[1] ?? '', rest: text.slice(opening.length + found[0].length) };
}
