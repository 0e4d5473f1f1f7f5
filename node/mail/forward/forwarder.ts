/** Forwards a user's mail as his own signed instruction says: in his name, with the proof that it came to him. */
import { encodeMessageRef } from '../message-ref.ts';
import type { Arrival } from '../onward/arrival.ts';
import { maxHandsOn } from '../onward/custody.ts';
import { forwardFields, hasPassed } from '../onward/fields.ts';
import { type HandOnParts, handOn } from '../onward/hand-on.ts';
import type { Instruction } from './instruction.ts';

export type Forwarded =
  /** Nothing to do, or it would go round: it stays. */
  | { readonly kind: 'none' }
  | { readonly kind: 'forwarded'; readonly keep: boolean }
  | { readonly kind: 'later'; readonly reason: string };

export interface Forwarder {
  /** Safe to repeat with the same arrival. Throws MailFault. */
  forward(arrival: Arrival, read: () => Promise<Uint8Array>, post: Uint8Array): Promise<Forwarded>;
}

/** `now` follows the user's log; it is asked at each message. */
export function forwarder(parts: HandOnParts, instruction: () => Instruction): Forwarder {
  return { forward: async (arrival, read, post) => forward(parts, instruction(), arrival, read, post) };
}

async function forward(
  parts: HandOnParts,
  { to, keep }: Instruction,
  arrival: Arrival,
  read: () => Promise<Uint8Array>,
  post: Uint8Array,
): Promise<Forwarded> {
  if (to.length === 0) return { kind: 'none' };
  const { address } = parts.user;
  const { letter, custody } = arrival;
  const stays = (why: string): Forwarded => {
    parts.trace?.(letter.trace, { what: 'not-forwarded', user: address, reason: why });
    parts.log.warn({ user: address, trace: letter.trace, reason: why }, 'a message was not forwarded and stays here');
    return { kind: 'none' };
  };
  const bytes = await read();
  // Here before, or long under way: the message is not lost by it, and goes round no more.
  if (hasPassed(bytes, address)) return stays('it was here before');
  if ((custody?.path.length ?? 0) >= maxHandsOn) return stays('it was carried on too often');
  const { recipients } = await handOn(parts, arrival, bytes, {
    fields: (below) => forwardFields(address, below),
    // RFC 5321 §3.9.1: who is told of failures stays who it was.
    envelope: { from: letter.envelope.from, to },
    post,
    note: { forwarded: { message: encodeMessageRef(letter.message), id: post, kept: keep } },
  });
  for (const { address: target, outcome } of recipients)
    if (outcome.kind === 'try-later') return { kind: 'later', reason: `${target}: ${outcome.reason}` };
  const sent = recipients.filter(({ outcome }) => outcome.kind === 'sent');
  if (sent.length === 0) return stays('nobody has the address it should go to');
  parts.trace?.(letter.trace, { what: 'forwarded', user: address, to: sent.map((one) => one.address), kept: keep });
  return { kind: 'forwarded', keep };
}
