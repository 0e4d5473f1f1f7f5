import type { Reply } from '../../../policy/policy.ts';
import { replies } from '../replies.ts';
import type { Command, Mail, Rcpt } from './command.ts';

/** How a client named itself. */
export interface Hello {
  readonly name: string;
  /** By EHLO, so that extensions were offered to it. */
  readonly extended: boolean;
}

/** Where a conversation is (RFC 5321 §4.1.4). */
export type State =
  | { readonly at: 'strange' }
  | { readonly at: 'known'; readonly hello: Hello }
  /** A MAIL command was accepted, and so many recipients since. */
  | { readonly at: 'mail'; readonly hello: Hello; readonly mail: Mail; readonly recipients: number }
  /** Chunks of a message have come (RFC 3030); `lost`: it cannot be taken any more. */
  | { readonly at: 'chunks'; readonly hello: Hello; readonly octets: number; readonly lost: boolean };

/** What does not change from one command to the next. */
export interface Setting {
  readonly hostname: string;
  readonly secure: boolean;
  /** There is a certificate. */
  readonly canSecure: boolean;
  readonly messageBytes: number;
  readonly recipients: number;
  readonly messagesPerConnection: number;
}

/** What a command comes to. Whoever runs the machine asks, reads, writes; the machine decides. */
export type Step =
  | { readonly kind: 'say'; readonly reply: Reply | readonly string[]; readonly state: State }
  /** Asks whether this is taken; if so, `state` holds. */
  | { readonly kind: 'mail'; readonly mail: Mail; readonly hello: Hello; readonly state: State }
  | { readonly kind: 'rcpt'; readonly rcpt: Rcpt; readonly state: State }
  /** Say 354, read to the final dot, and answer with what becomes of the message. */
  | { readonly kind: 'data'; readonly state: State }
  /** Read so many octets. With `refusal` they are nothing but octets to be got rid of. */
  | {
      readonly kind: 'chunk';
      readonly octets: number;
      readonly last: boolean;
      readonly refusal?: Reply;
      readonly state: State;
    }
  | { readonly kind: 'secure'; readonly state: State }
  | { readonly kind: 'quit' }
  | { readonly kind: 'end'; readonly reply: Reply };

export const begun: State = { at: 'strange' };

/** One step of the conversation: pure, total, and never more than one reply for one command. */
export function step(state: State, command: Command, setting: Setting): Step {
  const say = (reply: Reply, next: State = state): Step => ({ kind: 'say', reply, state: next });
  switch (command.verb) {
    case 'wrong':
      return command.fatal === true ? { kind: 'end', reply: command.reply } : say(command.reply);
    case 'EHLO': {
      // RFC 5321 §4.1.4: a second EHLO is a RSET too.
      const hello = { name: command.name, extended: true };
      return { kind: 'say', reply: greetingOf(setting), state: { at: 'known', hello } };
    }
    case 'HELO':
      return {
        kind: 'say',
        reply: [setting.hostname],
        state: { at: 'known', hello: { name: command.name, extended: false } },
      };
    case 'NOOP':
      return say(replies.noop);
    case 'RSET':
      return say(replies.reset, idle(state));
    case 'QUIT':
      return { kind: 'quit' };
    case 'HELP':
      return say(replies.help);
    case 'VRFY':
      return say(replies.vrfy);
    case 'EXPN':
      return say(replies.expn);
    case 'STARTTLS':
      return startTls(state, setting);
    case 'MAIL':
      return mail(state, command.mail, setting);
    case 'RCPT':
      return rcpt(state, command.rcpt);
    case 'DATA':
      return data(state);
    default:
      return chunk(state, command, setting);
  }
}

/** The state with no transaction in it. */
function idle(state: State): State {
  return state.at === 'strange' ? state : { at: 'known', hello: state.hello };
}

function startTls(state: State, { secure, canSecure }: Setting): Step {
  const say = (reply: Reply): Step => ({ kind: 'say', reply, state });
  if (secure) return say(replies.secureAlready);
  if (!canSecure) return say(replies.unknownCommand);
  // What a client began in the clear is forgotten (RFC 3207 §4.2); it would be surprised, so it may not begin.
  if (state.at === 'mail' || state.at === 'chunks') return say(replies.transactionOpen);
  return { kind: 'secure', state: begun };
}

function mail(state: State, asked: Mail, { secure, messageBytes }: Setting): Step {
  const say = (reply: Reply): Step => ({ kind: 'say', reply, state });
  if (state.at === 'strange') return say(replies.helloFirst);
  if (state.at !== 'known') return say(replies.transactionOpen);
  if (asked.size > messageBytes) return say(replies.tooLarge);
  // RFC 8689 §4.1: only over TLS is it offered.
  if (asked.requireTls && !secure) return say(replies.requireTlsInClear);
  if (!asked.utf8 && isBeyondAscii(asked.path)) return say(replies.utf8NotDeclared);
  const { hello } = state;
  return { kind: 'mail', mail: asked, hello, state: { at: 'mail', hello, mail: asked, recipients: 0 } };
}

function rcpt(state: State, asked: Rcpt): Step {
  if (state.at !== 'mail') {
    const reply = state.at === 'chunks' ? replies.chunksBegun : replies.mailFirst;
    return { kind: 'say', reply, state };
  }
  if (!state.mail.utf8 && isBeyondAscii(asked.path)) return { kind: 'say', reply: replies.utf8NotDeclared, state };
  return { kind: 'rcpt', rcpt: asked, state: { ...state, recipients: state.recipients + 1 } };
}

function data(state: State): Step {
  const say = (reply: Reply): Step => ({ kind: 'say', reply, state });
  if (state.at === 'chunks') return say(replies.chunksBegun);
  if (state.at !== 'mail') return say(replies.mailFirst);
  if (state.recipients === 0) return say(replies.noRecipients);
  return { kind: 'data', state: idle(state) };
}

// RFC 3030 §2: the octets follow at once, whatever is thought of them.
function chunk(state: State, command: Extract<Command, { verb: 'BDAT' }>, { messageBytes }: Setting): Step {
  const { octets, last } = command;
  const refuse = (refusal: Reply, next: State = state): Step => ({ kind: 'chunk', octets, last, refusal, state: next });
  // So many octets of nothing are not worth waiting for.
  if (octets > 4 * messageBytes) return { kind: 'end', reply: replies.tooLarge };
  if (state.at === 'strange' || state.at === 'known') return refuse(replies.mailFirst);
  if (state.at === 'mail' && state.recipients === 0) return refuse(replies.noRecipients);
  if (state.at === 'chunks' && state.lost) return refuse(replies.messageLost);
  const before = state.at === 'chunks' ? state.octets : 0;
  if (before + octets > messageBytes)
    return refuse(
      replies.tooLarge,
      last ? idle(state) : { at: 'chunks', hello: state.hello, octets: before, lost: true },
    );
  const next: State = last ? idle(state) : { at: 'chunks', hello: state.hello, octets: before + octets, lost: false };
  return { kind: 'chunk', octets, last, state: next };
}

/** What is announced, and nothing that is not kept (RFC 5321 §4.1.1.1). */
function greetingOf(setting: Setting): readonly string[] {
  return [
    setting.hostname,
    'PIPELINING',
    '8BITMIME',
    'SMTPUTF8',
    'ENHANCEDSTATUSCODES',
    // RFC 3461: what was asked for goes with the message (inbound/wishes.ts).
    'DSN',
    'CHUNKING',
    // RFC 8689 §2: in TLS only. STARTTLS: RFC 3207 §4.2, outside only.
    ...(setting.secure ? ['REQUIRETLS'] : setting.canSecure ? ['STARTTLS'] : []),
    'HELP',
    `SIZE ${setting.messageBytes}`,
    // RFC 9422.
    `LIMITS RCPTMAX=${setting.recipients} MAILMAX=${setting.messagesPerConnection}`,
  ];
}

function isBeyondAscii(text: string): boolean {
  return Buffer.byteLength(text) !== text.length;
}
