import { z } from 'zod';
import type { Address } from '../../policy/address.ts';
import { encodeCanonical } from '../identity/canonical.ts';
import { checkIdentityCertificate, type IdentityCertificate, type Trust } from '../identity/certificate.ts';
import type { SigningKey } from '../identity/keys.ts';
import { addressShape, timeShape } from '../identity/shapes.ts';
import { encodeSigned, readSigned, signBytes } from '../identity/signed.ts';
import { sha256 } from './block-cipher.ts';
import type { Lease } from './content.ts';

/**
 * What an identity says when it has refreshed all that it refers to: "of mine, everything that is still wanted is leased until `until` at
 * least". Signed by its own key, so that nobody else can let go of what is its. Without one, a lease that has run out takes nothing away:
 * whoever is ill for a year finds the mailbox as it was.
 */
export interface Round {
  readonly address: Address;
  readonly begun: number;
  readonly completed: number;
  readonly until: number;
}

/** A round with the certificate that its key is in. */
export interface StatedRound {
  readonly certificate: Uint8Array;
  readonly statement: Uint8Array;
}

const tag = 'refresh-round';
// An address, three numbers and a signature.
export const maxRoundBytes = 1024;
// By the holder's own clock. A statement from the future, of a machine that started with a wrong clock, would stand above all later ones.
const maxAheadMs = 86_400_000;

const shape = z.strictObject({ address: addressShape, begun: timeShape, completed: timeShape, until: timeShape });

export function makeRound(
  round: Round,
  { certificate, signing }: { certificate: IdentityCertificate; signing: SigningKey },
): StatedRound {
  const statement = encodeSigned(signBytes(tag, encodeCanonical(shape.parse(round)), signing));
  return { certificate: certificate.bytes, statement };
}

/** The round of a statement from anyone; undefined for a forged or future one, and for one of a revoked key. */
export function checkRound({ certificate, statement }: StatedRound, trust: Trust): Round | undefined {
  const judged = checkIdentityCertificate(certificate, trust);
  if (judged.kind === 'invalid' || judged.kind === 'revoked') return undefined;
  const signer = judged.certificate.signingKey;
  const read = readSigned(tag, statement, { shape, maxBytes: maxRoundBytes, signer });
  if (read.kind === 'invalid' || read.value.address !== judged.certificate.address) return undefined;
  const { begun, completed } = read.value;
  return begun <= completed && completed <= trust.now + maxAheadMs ? read.value : undefined;
}

/** Where the ring keeps an identity's newest round. */
export function roundKey(address: Address): Uint8Array {
  return sha256('round\0', address);
}

/** What is known of an identity that has leases. */
export interface LeaseHolderFacts {
  readonly round: Round | undefined;
  /** Since when the ring has known no such identity, or a revoked one. */
  readonly goneSince: number | undefined;
}

/**
 * Whether a lease keeps nothing any more: it has run out by this clock, and either its identity has refreshed after that moment, by its own
 * clock, without this block; or the identity has been gone for `goneGraceMs`.
 */
export function hasEnded(
  { until }: Pick<Lease, 'until'>,
  { round, goneSince }: LeaseHolderFacts,
  now: number,
  goneGraceMs: number,
): boolean {
  if (until >= now) return false;
  if (round !== undefined && round.completed > until && round.until > until) return true;
  return goneSince !== undefined && now - goneSince > goneGraceMs;
}
