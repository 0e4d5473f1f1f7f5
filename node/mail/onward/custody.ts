/**
 * Who had a message in hand before the one who sends it on now: from each the signed notification by which it came to the next, back to who brought it into
 * the ring. So nobody can have a message carried on that was not sent to him, or that he changed; and what carries it on (a list, a forwarding) need not be
 * believed by the recipient or by the gateway.
 */
import { createHash } from 'node:crypto';
import type { Address } from '../../../policy/address.ts';
import type { Trust } from '../../identity/certificate.ts';
import { maxSealedBytes } from '../../notify/lifetime.ts';
import { type Opened, readProof } from '../../notify/sealed.ts';
import type { BlockSource } from '../../store/content.ts';
import { MailFault } from '../fault.ts';
import { decodeLetter, type MailLetter, type Onward } from '../letter.ts';
import { fetchMessage } from '../message.ts';
import { sha256InSlices } from '../slices.ts';
import { areAddedFields } from './fields.ts';

/** A letter, and the notification that it came in. */
export interface Link {
  readonly opened: Opened;
  readonly letter: MailLetter;
}

export interface Custody {
  /** By which the message came into the ring: its signer vouches for it. */
  readonly root: Link;
  /** By which it came to who sends it on now. */
  readonly last: Link;
  /** Who carried it on, the first one first; the last of them is who sends it now. */
  readonly path: readonly Address[];
}

export type CustodyAnswer =
  | { readonly kind: 'proven'; readonly custody: Custody }
  | { readonly kind: 'refused'; readonly rule: string }
  | { readonly kind: 'later'; readonly reason: string };

export interface CustodyParts {
  readonly store: BlockSource;
  readonly trust: () => Trust | Promise<Trust>;
  readonly now: () => number;
}

/** Lists in lists and forwardings one after the other: more of them than this is a mistake, and each costs whoever checks it a block. */
export const maxHandsOn = 10;

const refused = (rule: string): CustodyAnswer => ({ kind: 'refused', rule });

/** Follows the proofs back from what `carrier` sends on. Throws only for what is neither the carrier's nor the ring's fault. */
export async function custodyOf(carrier: Address, onward: Onward, parts: CustodyParts): Promise<CustodyAnswer> {
  const path: Address[] = [];
  let last: Link | undefined;
  let by = carrier;
  let origin = onward.origin;
  while (origin !== undefined) {
    path.unshift(by);
    if (path.length > maxHandsOn) return refused('handed-on-too-often');
    const read = await linkAt(by, origin, parts);
    if (read.kind !== 'link') return read;
    const { link } = read;
    last ??= link;
    origin = link.letter.onward?.origin;
    if (origin === undefined) return { kind: 'proven', custody: { root: link, last, path } };
    by = link.opened.from.address;
  }
  return refused('handed-on-without-proof');
}

async function linkAt(
  to: Address,
  origin: NonNullable<Onward['origin']>,
  { store, trust, now }: CustodyParts,
): Promise<{ readonly kind: 'link'; readonly link: Link } | Exclude<CustodyAnswer, { kind: 'proven' }>> {
  const notProven = { kind: 'refused', rule: 'handed-on-without-proof' } as const;
  if (origin.size > maxSealedBytes) return notProven;
  try {
    const opened = readProof({ proof: await fetchMessage(store, origin), to, trust: await trust(), now: now() });
    if (opened.kind === 'refused')
      return opened.code === 'sender-unproven' ? { kind: 'later', reason: opened.reason } : notProven;
    const letter = decodeLetter(opened.body);
    return letter.kind === 'mail' ? { kind: 'link', link: { opened, letter } } : notProven;
  } catch (error) {
    if (!(error instanceof MailFault)) throw error;
    const { code, message } = error;
    return code === 'unavailable' || code === 'missing' ? { kind: 'later', reason: message } : notProven;
  }
}

/** Whether these octets are the message that came into the ring, with nothing but {@link areAddedFields} on top. */
export async function isUnchanged(bytes: Uint8Array, { added }: Onward, { root }: Custody): Promise<boolean> {
  if (added > bytes.length || !areAddedFields(bytes.subarray(0, added))) return false;
  const hash = await sha256InSlices(bytes.subarray(added));
  return hash.equals(root.letter.message.hash);
}

/** Under what a message is known for the same, by whatever way it comes: who brought it into the ring, and the hash of its octets as they were then. */
export function postId(signer: Address, hash: Uint8Array): Uint8Array {
  return createHash('sha256').update(`epost/post\0${signer}\0`).update(hash).digest();
}
