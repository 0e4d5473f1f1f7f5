import { z } from 'zod';
import type { Domain } from '../../policy/address.ts';
import { encodeCanonical } from './canonical.ts';
import type { SigningKey } from './keys.ts';
import { domainShape, publicKeyShape, timeShape } from './shapes.ts';
import { decodeSigned, encodeSigned, readSigned, signBytes } from './signed.ts';

/** What a ring is: its name, the mail domains it serves, and the key of its certificate authority. */
export interface RingDescriptor {
  readonly name: Domain;
  readonly domains: readonly Domain[];
  readonly caKey: Uint8Array;
  readonly createdAt: number;
  /** See {@link nodesPerIdentity}; absent: the default. */
  readonly nodesPerIdentity?: number | undefined;
}

// A person's desktop, notebook and some servers, or a small organisation's machines under one name. Without a bound, one identity whose requests an
// authority's postmaster grants too freely could surround keys; with it, that takes as many people as a sixteenth of the nodes.
export const defaultNodesPerIdentity = 16;
// Beyond this it would bound nothing.
export const maxNodesPerIdentity = 1_000;

/** How many nodes an identity may have. In the descriptor, so that the authority and every member count alike. */
export function nodesPerIdentity(ring: RingDescriptor): number {
  return ring.nodesPerIdentity ?? defaultNodesPerIdentity;
}

export type RingCheck =
  | { readonly kind: 'valid'; readonly ring: RingDescriptor }
  | { readonly kind: 'invalid'; readonly reason: string };

const tag = 'ring';
// A ring serves one organisation: a hundred domains are many, and the descriptor stays small enough to print and send.
const maxDomains = 100;
const maxRingBytes = 32 * 1024;

const ringShape = z
  .strictObject({
    version: z.literal(1),
    name: domainShape,
    domains: z.array(domainShape).min(1).max(maxDomains),
    caKey: publicKeyShape,
    createdAt: timeShape,
    nodesPerIdentity: z.int().min(1).max(maxNodesPerIdentity).optional(),
  })
  .refine((ring) => ring.domains.includes(ring.name), { message: 'the name is not among the domains' });

/** The descriptor signed by the ring's own authority. */
export function encodeRing(ring: RingDescriptor, ca: SigningKey): Uint8Array {
  const { name, domains, caKey, createdAt, nodesPerIdentity: bound } = ring;
  const claims = {
    version: 1,
    name,
    domains,
    caKey,
    createdAt,
    ...(bound === undefined ? {} : { nodesPerIdentity: bound }),
  };
  return encodeSigned(signBytes(tag, encodeCanonical(claims), ca));
}

/**
 * Reads a descriptor and checks that the authority it names signed it. That this is the authority one means to trust
 * is for the caller to know: by the bytes' origin, or by comparing `caKey`.
 */
export function decodeRing(bytes: Uint8Array): RingCheck {
  const read = readSigned(tag, bytes, { shape: ringShape, maxBytes: maxRingBytes });
  if (read.kind === 'invalid') return read;
  const { name, domains, caKey, createdAt, nodesPerIdentity: bound } = read.value;
  const signer = decodeSigned(bytes, maxRingBytes)?.signer;
  if (signer === undefined || Buffer.compare(signer, caKey) !== 0) {
    return { kind: 'invalid', reason: 'not signed by the authority it names' };
  }
  return {
    kind: 'valid',
    ring: { name, domains, caKey, createdAt, ...(bound === undefined ? {} : { nodesPerIdentity: bound }) },
  };
}
