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
  tooManyConnections: reply(421, '4.7.0', 'too many connections from your network, please try again later'),
  busy: reply(421, '4.3.2', 'too busy, please try again later'),
  noStorage: reply(451, '4.3.1', 'cannot store mail at the moment, please try again later'),
  storageShut: reply(421, '4.3.1', 'cannot store mail at the moment, please try again later'),
  noMemory: reply(451, '4.3.1', 'too much mail at the moment, please try again later'),
  tooManyMessages: reply(421, '4.7.0', 'enough messages on this connection, please open a new one'),
  tooManyRecipients: reply(452, '4.5.3', 'too many recipients, please send to the others in another transaction'),
  tooManyBadCommands: reply(421, '4.7.0', 'too many bad commands, closing'),
  tooManyUnknown: reply(421, '4.7.0', 'too many recipients that are not here, closing'),
  sessionOver: reply(421, '4.4.2', 'session lasted too long, closing'),
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

/** The same reply with the id under which the postmaster finds everything about it. */
export function withTrace(reply: Reply, trace: string): Reply {
  return { ...reply, text: `${reply.text} (${trace})` };
}
