import type { Reply } from '../../policy/policy.ts';

/** What a step of the session comes to: go on, refuse this command, or refuse and close. */
export type StepResult =
  | { readonly kind: 'ok' }
  | { readonly kind: 'refused'; readonly reply: Reply }
  | { readonly kind: 'closed'; readonly reply: Reply };

export const ok: StepResult = { kind: 'ok' };

const reply = (code: number, enhanced: string, text: string): Reply => ({ code, enhanced, text });

/** Every reply of ours, in one table: code (RFC 5321 §4.2), enhanced code (RFC 3463, RFC 5248), and what to do about it. */
export const replies = {
  tooManyConnections: reply(
    421,
    '4.7.0',
    'too many connections from your network, please close some or try again later',
  ),
  busy: reply(421, '4.3.2', 'too busy, please try again later'),
  noStorage: reply(451, '4.3.1', 'cannot store mail at the moment, please try again later'),
  storageShut: reply(421, '4.3.1', 'cannot store mail at the moment, please try again later'),
  noMemory: reply(451, '4.3.1', 'too much mail at the moment, please try again later'),
  tooManyMessages: reply(421, '4.7.0', 'enough messages on this connection, please open a new one'),
  tooManyRecipients: reply(452, '4.5.3', 'too many recipients, please send to the others in another transaction'),
  oneRecipient: reply(
    452,
    '4.5.3',
    'each recipient is decided on by itself here, please send to this one in another transaction',
  ),
  tooManyBadCommands: reply(421, '4.7.0', 'too many bad commands, closing'),
  tooManyUnknown: reply(421, '4.7.0', 'too many recipients that are not here, closing'),
  sessionOver: reply(421, '4.4.2', 'session lasted too long, closing'),
  timeout: reply(421, '4.4.2', 'nothing came for too long, closing; please connect again'),
  stopping: reply(421, '4.3.2', 'this host is being restarted, please connect again'),
  // RFC 5321 §4.1.1: what each command answers when nothing is wrong.
  mailOk: reply(250, '2.1.0', 'sender ok'),
  rcptOk: reply(250, '2.1.5', 'recipient ok'),
  noop: reply(250, '2.0.0', 'OK'),
  reset: reply(250, '2.0.0', 'forgotten; begin again with MAIL'),
  bye: reply(221, '2.0.0', 'bye'),
  secureNow: reply(220, '2.0.0', 'ready to start TLS'),
  help: reply(
    214,
    '2.0.0',
    'EHLO, MAIL, RCPT, DATA, BDAT, RSET, NOOP, QUIT as in RFC 5321; trouble: ask the postmaster',
  ),
  // RFC 5321 §7.3: who is here is not told; RFC 2505 §2.11.
  vrfy: reply(252, '2.5.0', 'not told here; send to it, and RCPT will say'),
  expn: reply(502, '5.5.1', 'members of lists are not told'),
  // What is wrong with a command (RFC 5321 §4.2.4, §4.3.2).
  unknownCommand: reply(500, '5.5.2', 'command not recognized'),
  notUtf8: reply(500, '5.5.2', 'the command is neither ASCII nor UTF-8'),
  controlCharacters: reply(500, '5.5.2', 'the command has control characters in it'),
  bareLineEnd: reply(500, '5.5.2', 'a line that does not end in CRLF (RFC 5321 section 2.3.8), closing'),
  lineTooLong: reply(500, '5.5.6', 'the command line is too long'),
  lineEndless: reply(421, '4.5.2', 'a command line that does not end, closing'),
  notHttp: reply(500, '5.5.2', 'this is a mail server, closing'),
  early: reply(554, '5.5.1', 'you spoke before the greeting (RFC 5321 section 3.1); wait for it'),
  badName: reply(501, '5.5.4', 'expected a host name or an address literal, and nothing else'),
  badMail: reply(501, '5.5.4', 'expected MAIL FROM:<address> and parameters'),
  badRcpt: reply(501, '5.5.4', 'expected RCPT TO:<address> and parameters'),
  badBdat: reply(501, '5.5.4', 'expected BDAT and a number of octets, closing'),
  noArgument: reply(501, '5.5.4', 'this command takes no argument'),
  argumentMissing: reply(501, '5.5.4', 'this command needs an argument'),
  badParameters: reply(501, '5.5.4', 'a parameter that cannot be understood'),
  helloFirst: reply(503, '5.5.1', 'EHLO first'),
  mailFirst: reply(503, '5.5.1', 'MAIL first'),
  noRecipients: reply(554, '5.5.1', 'no valid recipients'),
  transactionOpen: reply(503, '5.5.1', 'a message is under way; RSET gives it up'),
  chunksBegun: reply(503, '5.5.1', 'a message in chunks is under way; BDAT or RSET'),
  messageLost: reply(503, '5.5.1', 'the message was refused already; RSET'),
  secureAlready: reply(503, '5.5.1', 'TLS is on already'),
  tlsFailed: reply(454, '4.7.0', 'TLS is not available at the moment'),
  requireTlsInClear: reply(530, '5.7.10', 'REQUIRETLS needs TLS (RFC 8689); STARTTLS first'),
  utf8NotDeclared: reply(553, '5.6.7', 'an address that is not ASCII needs SMTPUTF8 (RFC 6531)'),
  tooMuchTalk: reply(421, '4.7.0', 'too many commands that bring no mail, closing'),
  unknownParameter: reply(555, '5.5.4', 'parameter not recognized'),
  badSender: reply(501, '5.1.7', 'not an address that mail can come from'),
  badRecipient: reply(553, '5.1.3', 'not an address that mail can go to'),
  noRelay: reply(550, '5.7.1', 'relaying denied: this host takes mail for its own domains only'),
  noSuchUser: reply(550, '5.1.1', 'no such user here'),
  revoked: reply(550, '5.2.1', 'this user is no longer here'),
  returnPathExpired: reply(
    550,
    '5.7.1',
    'this return address has expired; what was sent with it is more than two weeks old',
  ),
  bouncesOnly: reply(550, '5.7.1', 'this address takes bounces only'),
  // RFC 3463 §3.8.
  notToList: reply(550, '5.7.2', 'only users of this organisation may write to this list, from inside'),
  notOfMembers: reply(
    550,
    '5.7.2',
    'only its members may write to this list, and your domain does not show that you are one',
  ),
  returnPathForged: reply(550, '5.7.1', 'this return address is not one that we gave out'),
  lookupFailed: reply(451, '4.4.3', 'cannot look up the recipient at the moment, please try again later'),
  bareLineEnds: reply(554, '5.6.0', 'bare CR, bare LF or NUL in the message: lines must end in CRLF'),
  longLines: reply(554, '5.6.0', 'a line of the message is too long'),
  headerTooLarge: reply(554, '5.6.0', 'the header of the message is too large'),
  routingLoop: reply(554, '5.4.6', 'too many Received fields: the message goes in circles'),
  tooLarge: reply(552, '5.3.4', 'the message is too large'),
  tooSlow: reply(451, '4.3.0', 'could not decide in time, please try again later'),
  internal: reply(451, '4.3.0', 'local trouble, please try again later'),
} as const satisfies Record<string, Reply>;

export const refused = (reply: Reply): StepResult => ({ kind: 'refused', reply });
export const closed = (reply: Reply): StepResult => ({ kind: 'closed', reply });

/** A reply that names the id under which the postmaster finds everything about it. */
export interface TracedReply extends Reply {
  readonly trace: string;
}

export function withTrace(reply: Reply, trace: string): TracedReply {
  return { ...reply, text: `${reply.text} (${trace})`, trace };
}

/** Every refusal has to be, so that what a stranger is told can be looked up. */
export function isTraced(reply: Reply): reply is TracedReply {
  return 'trace' in reply;
}
