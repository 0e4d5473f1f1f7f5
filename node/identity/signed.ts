import { z } from 'zod';
import { decodeCanonical, encodeCanonical } from './canonical.ts';
import { publicKeyBytes, type SigningKey, signatureBytes, verifySignature } from './keys.ts';
import { bytesShape } from './shapes.ts';

/** Bytes with the signature of one key over a tag and exactly these bytes. */
export interface Signed {
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  readonly signer: Uint8Array;
}

// A signed thing travels in one RPC frame (128 KiB) with room for what is around it.
export const maxSignedBytes = 120 * 1024;

const signedShape = z.strictObject({
  payload: z.custom<Uint8Array>((value) => value instanceof Uint8Array),
  signature: bytesShape(signatureBytes),
  signer: bytesShape(publicKeyBytes),
});

function signedText(tag: string, payload: Uint8Array): Uint8Array {
  // The tag separates domains: a signature made as one kind of thing is none as any other kind (DESIGN §5).
  return Buffer.concat([Buffer.from(`epost/${tag}\0`), payload]);
}

/** Signs `payload` as a thing of the kind `tag` (letters, digits, `-`, `/`). */
export function signBytes(tag: string, payload: Uint8Array, key: SigningKey): Signed {
  return { payload, signature: key.sign(signedText(tag, payload)), signer: key.public };
}

/** Whether the signer that is named inside signed this payload as a `tag`. Whether that signer may is another question. */
export function verifySigned(tag: string, signed: Signed): boolean {
  return verifySignature(signed.signer, signedText(tag, signed.payload), signed.signature);
}

/** The canonical bytes that are kept and forwarded as they are. */
export function encodeSigned(signed: Signed): Uint8Array {
  return encodeCanonical({ payload: signed.payload, signature: signed.signature, signer: signed.signer });
}

/** Reads what {@link encodeSigned} wrote; undefined for anything else. Checks the form, not the signature. Never throws. */
export function decodeSigned(bytes: Uint8Array, maxBytes: number = maxSignedBytes): Signed | undefined {
  const decoded = decodeCanonical(bytes, maxBytes);
  if (decoded.kind === 'invalid') return undefined;
  return signedShape.safeParse(decoded.value).data;
}

export type Verified<T> =
  | { readonly kind: 'verified'; readonly value: T }
  | { readonly kind: 'invalid'; readonly reason: string };

/**
 * Reads a signed, canonical value: form, signer, signature and shape, in this order. Where `signer` is given no other
 * key will do; otherwise the caller judges the signer that is named inside.
 */
export function readSigned<T>(
  tag: string,
  bytes: Uint8Array,
  expected: { readonly shape: z.ZodType<T>; readonly maxBytes: number; readonly signer?: Uint8Array },
): Verified<T> {
  const invalid = (reason: string): Verified<T> => ({ kind: 'invalid', reason });
  const signed = decodeSigned(bytes, expected.maxBytes);
  if (signed === undefined) return invalid('not a signed canonical value');
  if (expected.signer !== undefined && Buffer.compare(expected.signer, signed.signer) !== 0) {
    return invalid('signed by another key');
  }
  if (!verifySigned(tag, signed)) return invalid('the signature does not match');
  const payload = decodeCanonical(signed.payload, expected.maxBytes);
  if (payload.kind === 'invalid') return invalid(payload.reason);
  const shaped = expected.shape.safeParse(payload.value);
  return shaped.success ? { kind: 'verified', value: shaped.data } : invalid(firstIssue(shaped.error));
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  return issue === undefined ? 'unexpected shape' : `${issue.path.join('.') || 'value'}: ${issue.message}`;
}
