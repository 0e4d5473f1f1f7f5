import { createHash } from 'node:crypto';
import { encode } from '@ipld/dag-cbor';
import type { Address } from '../../policy/address.ts';
import { checkIdentityCertificate, type IdentityCertificate, type Trust } from '../identity/certificate.ts';
import type { IdentityKeys, SigningKey } from '../identity/keys.ts';
import { open, seal } from '../identity/seal.ts';
import { decodeSigned, encodeSigned, signBytes, verifySigned } from '../identity/signed.ts';
import { NotifyFault } from './fault.ts';
import { asBytes, asFields, asText, asTime, sameBytes } from './field.ts';
import { clockSkewMs, lifetimeMs, maxBodyBytes, maxProofAgeMs, maxSealedBytes } from './lifetime.ts';

const signTag = 'notification';
const sealTag = new TextEncoder().encode('epost/notification\0');

/** A sealed notification as it travels: who may read it and its id are visible, nothing else is (DESIGN §5). */
export interface Sealed {
  readonly id: Uint8Array;
  readonly recipient: Address;
  readonly bytes: Uint8Array;
}

export interface Opened {
  readonly kind: 'opened';
  readonly from: IdentityCertificate;
  readonly id: Uint8Array;
  readonly body: Uint8Array;
  readonly at: number;
  /** What was sealed: signed, and with the signer's certificate. Shows a third party who sent this to whom ({@link readProof}). */
  readonly proof: Uint8Array;
}

/**
 * `early` and `sender-unproven` may turn out differently later; the other codes are final for these bytes.
 * `not-sealed-to-me` also covers damaged bytes: without the key the two cannot be told apart.
 */
export type RefusalCode =
  | 'malformed'
  | 'not-sealed-to-me'
  | 'forged'
  | 'disagrees'
  | 'wrong-addressee'
  | 'early'
  | 'expired'
  | 'sender-invalid'
  | 'sender-revoked'
  | 'sender-unproven';

export type OpenResult = Opened | { readonly kind: 'refused'; readonly code: RefusalCode; readonly reason: string };

/**
 * The id under which a sender's own name for a notification travels. It covers the sender's certified address, so that
 * nobody else's notification can have it: a stranger can neither answer for it nor make the recipient take it for known.
 */
export function notificationId(from: Address, name: Uint8Array): Uint8Array {
  return createHash('sha256').update(`epost/notification id\0${from}\0`).update(name).digest();
}

/** The visible part: format, id, whose signing key it is for, sealed part. */
export interface Outer {
  readonly id: Uint8Array;
  readonly to: Uint8Array;
  readonly box: Uint8Array;
}

export function decodeOuter(bytes: Uint8Array): Outer {
  if (bytes.length > maxSealedBytes) throw new NotifyFault('too-large', `a notification of ${bytes.length} bytes`);
  const fields = asFields(bytes, ['v', 'id', 'to', 'box']);
  if (fields['v'] !== 1) throw new NotifyFault('not-understood', 'a notification of another version');
  return {
    id: asBytes(fields['id'], 32, 32),
    to: asBytes(fields['to'], 32, 32),
    box: asBytes(fields['box'], 1, maxSealedBytes),
  };
}

function contextOf(id: Uint8Array, to: Uint8Array): Uint8Array {
  return Buffer.concat([sealTag, id, to]);
}

/**
 * Signs, then seals (DESIGN §5). `id` is the sender's own name for it, the same each time the same thing is sent again;
 * the notification travels, and is answered, under {@link notificationId}. Pure but for the seal's ephemeral key.
 */
export function compose(options: {
  readonly from: { readonly certificate: IdentityCertificate; readonly signing: SigningKey };
  readonly to: IdentityCertificate;
  readonly id: Uint8Array;
  readonly body: Uint8Array;
  readonly now: number;
}): Sealed {
  const { from, to, id: name, body, now } = options;
  if (body.length > maxBodyBytes) throw new NotifyFault('too-large', `a notification body of ${body.length} bytes`);
  const id = notificationId(from.certificate.address, name);
  const payload = encode({
    v: 1,
    name,
    at: now,
    from: [from.certificate.address, from.certificate.serial],
    to: [to.address, to.signingKey, to.sealingKey],
    body,
  });
  const inner = encode({
    signed: encodeSigned(signBytes(signTag, payload, from.signing)),
    certificate: from.certificate.bytes,
  });
  const box = seal(to.sealingKey, inner, contextOf(id, to.signingKey));
  const bytes = encode({ v: 1, id, to: to.signingKey, box });
  if (bytes.length > maxSealedBytes) throw new NotifyFault('too-large', `a sealed notification of ${bytes.length}`);
  return { id, recipient: to.address, bytes };
}

interface Inner {
  readonly name: Uint8Array;
  readonly at: number;
  readonly from: readonly [string, string];
  readonly to: readonly [string, Uint8Array, Uint8Array];
  readonly body: Uint8Array;
}

function decodeInner(payload: Uint8Array): Inner {
  const fields = asFields(payload, ['v', 'name', 'at', 'from', 'to', 'body']);
  const { from, to } = fields;
  if (fields['v'] !== 1 || !Array.isArray(from) || from.length !== 2 || !Array.isArray(to) || to.length !== 3)
    throw new NotifyFault('damaged', 'the inside of a notification has another shape');
  return {
    name: asBytes(fields['name'], 1, 64),
    at: asTime(fields['at']),
    from: [asText(from[0], 320), asText(from[1], 128)],
    to: [asText(to[0], 320), asBytes(to[1], 32, 32), asBytes(to[2], 32, 32)],
    body: asBytes(fields['body'], 0, maxBodyBytes),
  };
}

const refused = (code: RefusalCode, reason: string): OpenResult => ({ kind: 'refused', code, reason });

/** Who signed: a certificate that stands, or why it does not. */
function senderOf(
  certificate: Uint8Array,
  trust: Trust,
): { readonly from: IdentityCertificate } | { readonly refusal: OpenResult } {
  const check = checkIdentityCertificate(certificate, trust);
  switch (check.kind) {
    case 'valid':
      return { from: check.certificate };
    case 'revoked':
      return { refusal: refused('sender-revoked', `the sender's certificate is revoked: ${check.reason}`) };
    case 'invalid':
      return { refusal: refused('sender-invalid', `the sender's certificate is not valid: ${check.reason}`) };
    default:
      return { refusal: refused('sender-unproven', `the sender's standing cannot be known now: ${check.reason}`) };
  }
}

/** What was signed by whom, for whoever it was signed for and whenever. */
interface Signing {
  readonly from: IdentityCertificate;
  readonly inner: Inner;
}

/** What of the inside holds for every reader: the signature, and that signer and certificate are one. */
function signingOf(proof: Uint8Array, trust: Trust): Signing | { readonly refusal: OpenResult } {
  const fields = asFields(proof, ['signed', 'certificate']);
  const sender = senderOf(asBytes(fields['certificate'], 1, maxSealedBytes), trust);
  if ('refusal' in sender) return sender;
  const { from } = sender;
  const signed = decodeSigned(asBytes(fields['signed'], 1, maxSealedBytes), maxSealedBytes);
  if (signed === undefined) return { refusal: refused('malformed', 'the inside is not signed') };
  if (!sameBytes(signed.signer, from.signingKey) || !verifySigned(signTag, signed))
    return { refusal: refused('forged', 'the signature is not the named sender’s') };
  const inner = decodeInner(signed.payload);
  if (inner.from[0] !== from.address || inner.from[1] !== from.serial)
    return { refusal: refused('disagrees', 'the signed sender is not the one the certificate names') };
  return { from, inner };
}

/** What is inside must say the same as what is outside, name me, and lie within the window (DESIGN §5, §8.4). */
function judge(
  { from, inner }: Signing,
  facts: { outer: Outer; me: IdentityCertificate; now: number; windowMs: number; proof: Uint8Array },
): OpenResult {
  const { outer, me, now, windowMs, proof } = facts;
  if (!sameBytes(notificationId(from.address, inner.name), outer.id))
    return refused('disagrees', 'the id outside is not the one that was signed');
  const [address, signingKey, sealingKey] = inner.to;
  if (address !== me.address || !sameBytes(signingKey, me.signingKey) || !sameBytes(sealingKey, me.sealingKey))
    return refused('wrong-addressee', 'it was signed for somebody else');
  if (inner.at > now + clockSkewMs) return refused('early', 'its time lies in the future');
  if (inner.at < now - windowMs - clockSkewMs) return refused('expired', 'its time lies before the window');
  return { kind: 'opened', from, id: outer.id, body: inner.body, at: inner.at, proof };
}

/**
 * What somebody shows of a notification that he got ({@link Opened.proof}): that this sender sent him this, within the window. Whom he shows it to need
 * not believe him. `to` is who shows it. Never throws for what the bytes are.
 */
export function readProof(options: {
  readonly proof: Uint8Array;
  readonly to: Address;
  readonly trust: Trust;
  readonly now: number;
}): OpenResult {
  const { proof, to, trust, now } = options;
  try {
    const signing = signingOf(proof, trust);
    if ('refusal' in signing) return signing.refusal;
    const { from, inner } = signing;
    if (inner.to[0] !== to) return refused('wrong-addressee', 'it was signed for somebody else');
    // He may have kept it in hand for as long again, and passed it on to the next.
    if (inner.at < now - maxProofAgeMs) return refused('expired', 'its time lies before the window');
    return {
      kind: 'opened',
      from,
      id: notificationId(from.address, inner.name),
      body: inner.body,
      at: inner.at,
      proof,
    };
  } catch (error) {
    return refused('malformed', error instanceof Error ? error.message : 'not a proof');
  }
}

/**
 * Opens and proves a notification, or says why not. Whether its id is new is for the caller, who has the memory of it.
 * Never throws for what the bytes are; time and work are bounded by their size.
 */
export function openSealed(options: {
  readonly sealed: Uint8Array;
  readonly me: { readonly certificate: IdentityCertificate; readonly keys: IdentityKeys };
  readonly trust: Trust;
  readonly now: number;
  readonly windowMs?: number;
}): OpenResult {
  const { sealed, me, trust, now, windowMs = lifetimeMs } = options;
  try {
    const outer = decodeOuter(sealed);
    if (!sameBytes(outer.to, me.certificate.signingKey)) return refused('wrong-addressee', 'it is for another key');
    const proof = open(me.keys.sealing, outer.box, contextOf(outer.id, outer.to));
    if (proof === undefined) return refused('not-sealed-to-me', 'my sealing key does not open it');
    const signing = signingOf(proof, trust);
    if ('refusal' in signing) return signing.refusal;
    return judge(signing, { outer, me: me.certificate, now, windowMs, proof });
  } catch (error) {
    return refused('malformed', error instanceof Error ? error.message : 'not a notification');
  }
}
