import { z } from 'zod';
import { type Address, type Domain, domainOf } from '../../policy/address.ts';
import { encodeCanonical } from './canonical.ts';
import type { SigningKey } from './keys.ts';
import { nodePeerId } from './peer-id.ts';
import type { RevocationState } from './revocation.ts';
import type { RingDescriptor } from './ring.ts';
import { addressShape, domainShape, publicKeyShape, serialShape, timeShape } from './shapes.ts';
import { encodeSigned, readSigned, signBytes } from './signed.ts';
import { VerifiedBefore } from './verified-before.ts';

const identityKinds = ['user', 'gateway', 'list', 'service'] as const;
export type IdentityKind = (typeof identityKinds)[number];

/** A mail address bound to its keys by the ring's authority. `bytes` are the exact signed bytes: keep and forward these. */
export interface IdentityCertificate {
  readonly kind: IdentityKind;
  readonly serial: string;
  readonly address: Address;
  readonly ring: Domain;
  readonly signingKey: Uint8Array;
  readonly sealingKey: Uint8Array;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly issuer: Uint8Array;
  readonly bytes: Uint8Array;
}

/** A node's key bound to the ring and to the identity that owns the node. */
export interface NodeCertificate {
  readonly serial: string;
  readonly ring: Domain;
  readonly peerKey: Uint8Array;
  readonly peerId: string;
  readonly owner: Address;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly issuer: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Whom to believe, and when: the ring, its newest revocation list, and the time in ms. */
export interface Trust {
  readonly ring: RingDescriptor;
  readonly revocations: RevocationState;
  readonly now: number;
}

/**
 * `unknown` means: everything is right but the revocation list is too old to be sure, or by this clock the certificate was
 * made in the future, which says more about the clock. Policy decides what that means.
 */
export type CertificateCheck<T> =
  | { readonly kind: 'valid'; readonly certificate: T }
  | { readonly kind: 'invalid'; readonly reason: string }
  | { readonly kind: 'revoked'; readonly certificate: T; readonly reason: string }
  | { readonly kind: 'unknown'; readonly certificate: T; readonly reason: string };

const identityTag = 'identity-certificate';
const nodeTag = 'node-certificate';
// Two addresses of 320 octets, four keys and the framing come to less than half of this.
export const maxCertificateBytes = 2 * 1024;
// Desktops' clocks differ; a certificate made a moment ago elsewhere must not look as if it came from the future.
const clockSkewMs = 5 * 60_000;

const common = {
  version: z.literal(1),
  serial: serialShape,
  ring: domainShape,
  notBefore: timeShape,
  notAfter: timeShape,
};
const identityShape = z.strictObject({
  ...common,
  kind: z.enum(identityKinds),
  address: addressShape,
  signingKey: publicKeyShape,
  sealingKey: publicKeyShape,
});
const nodeShape = z.strictObject({ ...common, peerKey: publicKeyShape, owner: addressShape });

export type IdentityClaims = Omit<z.infer<typeof identityShape>, 'version'>;
export type NodeClaims = Omit<z.infer<typeof nodeShape>, 'version'>;

/** Signs an identity certificate. For the authority only; {@link checkIdentityCertificate} is the judge. */
export function signIdentityCertificate(claims: IdentityClaims, ca: SigningKey): IdentityCertificate {
  const bytes = encodeSigned(
    signBytes(identityTag, encodeCanonical(identityShape.parse({ ...claims, version: 1 })), ca),
  );
  return { ...claims, issuer: ca.public, bytes };
}

/** Signs a node certificate. */
export function signNodeCertificate(claims: NodeClaims, ca: SigningKey): NodeCertificate {
  const bytes = encodeSigned(signBytes(nodeTag, encodeCanonical(nodeShape.parse({ ...claims, version: 1 })), ca));
  return { ...claims, peerId: nodePeerId(claims.peerKey), issuer: ca.public, bytes };
}

// A verification costs a tenth of a millisecond, and each message meets some ten certificates. 2,000 of 1 KiB: 4 MB at most.
const maxRemembered = 2_000;
const identitiesRead = new VerifiedBefore<IdentityCertificate>(maxRemembered);
const nodesRead = new VerifiedBefore<NodeCertificate>(maxRemembered);

type Read<T> =
  | { readonly kind: 'read'; readonly certificate: T }
  | { readonly kind: 'invalid'; readonly reason: string };

/** Judges an identity certificate from anyone. Never throws. */
export function checkIdentityCertificate(bytes: Uint8Array, trust: Trust): CertificateCheck<IdentityCertificate> {
  const read = readOnce(identitiesRead, bytes, trust.ring.caKey, readIdentity);
  return read.kind === 'invalid' ? read : judge(read.certificate, read.certificate.address, trust);
}

/** Judges a node certificate from anyone. Never throws. */
export function checkNodeCertificate(bytes: Uint8Array, trust: Trust): CertificateCheck<NodeCertificate> {
  const read = readOnce(nodesRead, bytes, trust.ring.caKey, readNode);
  return read.kind === 'invalid' ? read : judge(read.certificate, read.certificate.owner, trust);
}

function readOnce<T>(
  before: VerifiedBefore<T>,
  bytes: Uint8Array,
  signer: Uint8Array,
  read: (bytes: Uint8Array, signer: Uint8Array) => Read<T>,
): Read<T> {
  let refusal: Read<T> = { kind: 'invalid', reason: 'too large' };
  if (bytes.length > maxCertificateBytes) return refusal;
  const certificate = before.find(signer, bytes, () => {
    const now = read(bytes, signer);
    if (now.kind === 'read') return now.certificate;
    refusal = now;
    return undefined;
  });
  return certificate === undefined ? refusal : { kind: 'read', certificate };
}

function readIdentity(bytes: Uint8Array, signer: Uint8Array): Read<IdentityCertificate> {
  const read = readSigned(identityTag, bytes, { shape: identityShape, maxBytes: maxCertificateBytes, signer });
  if (read.kind === 'invalid') return read;
  const { version: _, ...claims } = read.value;
  return { kind: 'read', certificate: Object.freeze({ ...claims, issuer: signer, bytes: Uint8Array.from(bytes) }) };
}

function readNode(bytes: Uint8Array, signer: Uint8Array): Read<NodeCertificate> {
  const read = readSigned(nodeTag, bytes, { shape: nodeShape, maxBytes: maxCertificateBytes, signer });
  if (read.kind === 'invalid') return read;
  const { version: _, ...claims } = read.value;
  const facts = { ...claims, peerId: nodePeerId(claims.peerKey), issuer: signer, bytes: Uint8Array.from(bytes) };
  return { kind: 'read', certificate: Object.freeze(facts) };
}

type Judged = { readonly serial: string; readonly ring: Domain; readonly notBefore: number; readonly notAfter: number };

function judge<T extends Judged>(certificate: T, address: Address, trust: Trust): CertificateCheck<T> {
  const { ring, revocations, now } = trust;
  if (certificate.ring !== ring.name) return { kind: 'invalid', reason: `for the ring ${certificate.ring}` };
  if (!ring.domains.includes(domainOf(address))) {
    return { kind: 'invalid', reason: `${domainOf(address)} is not a domain of the ring` };
  }
  if (now > certificate.notAfter) return { kind: 'invalid', reason: 'expired' };
  if (revocations.isRevoked(certificate.serial)) {
    return { kind: 'revoked', certificate, reason: `serial ${certificate.serial} is on the revocation list` };
  }
  // The authority dates nothing ahead: a desktop that woke with its clock behind must not deny who is there.
  if (now < certificate.notBefore - clockSkewMs)
    return { kind: 'unknown', certificate, reason: 'by this machine’s clock it is not valid yet' };
  const list = revocations.current();
  if (list === undefined) return { kind: 'unknown', certificate, reason: 'no revocation list seen yet' };
  if (now > list.nextUpdate) return { kind: 'unknown', certificate, reason: 'the revocation list is out of date' };
  return { kind: 'valid', certificate };
}
