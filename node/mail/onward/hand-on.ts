/** Sends on what came to a list or to somebody who forwards his mail. */
import type { Address } from '../../../policy/address.ts';
import { deriveKey } from '../../identity/derive.ts';
import { type Clock, type Log, leaseMs, type MailUser } from '../mail-post.ts';
import { sha256 } from '../manifest.ts';
import { storeMessage } from '../message.ts';
import { type Carried, type SendPost, type Submission, type SubmitOptions, submit } from '../send.ts';
import { joinedInSlices } from '../slices.ts';
import type { Arrival } from './arrival.ts';

export interface HandOnParts {
  readonly user: MailUser;
  readonly post: SendPost;
  readonly gateway: Address;
  readonly book: SubmitOptions['book'];
  readonly now: Clock;
  readonly trace?: SubmitOptions['trace'];
  readonly log: Log;
}

export interface HandOn {
  /** What stands on top of the message from now on, made from what others had put there. */
  readonly fields: (below: Uint8Array) => Uint8Array;
  readonly envelope: { readonly from: string; readonly to: readonly string[] };
  readonly post: Uint8Array;
  readonly note?: Carried['note'];
}

/** Safe to repeat: the same arrival goes to the same recipients as the same notifications. Throws MailFault as {@link submit} does. */
export async function handOn(
  parts: HandOnParts,
  { opened, letter }: Arrival,
  bytes: Uint8Array,
  { fields, envelope, post, note }: HandOn,
): Promise<Submission> {
  const { user, now } = parts;
  const before = letter.onward?.origin === undefined ? 0 : letter.onward.added;
  const onTop = fields(bytes.subarray(0, before));
  const origin = await storeMessage(parts.post.store, opened.proof, {
    salt: deriveKey(user.keys.export(), 'mail/proof', sha256(opened.proof)),
    lease: { identity: user.address, until: now() + leaseMs },
  });
  return submit({
    ...parts,
    envelope: { ...envelope, requireTls: letter.envelope.requireTls },
    bytes: await joinedInSlices([onTop, bytes.subarray(before)]),
    traceId: letter.trace,
    carried: { onward: { origin, added: onTop.length }, post, ...(note === undefined ? {} : { note }) },
  });
}
