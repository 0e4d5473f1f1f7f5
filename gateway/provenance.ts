import { createPublicKey, verify } from 'node:crypto';
import { decode, encode } from '@ipld/dag-cbor';
import { z } from 'zod';
import { keptKeyShape } from './evidence/key-record.ts';

/** A key that signs for the gateway; node's SigningKey fits. */
export interface Signer {
  /** Ed25519 public key, 32 bytes. */
  readonly public: Uint8Array;
  sign(bytes: Uint8Array): Uint8Array;
}

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const checked = z.strictObject({ result: z.string(), domain: z.string() });

const shape = z.strictObject({
  version: z.literal(1),
  trace: z.string(),
  at: z.number(),
  gateway: z.string(),
  client: z.strictObject({ ip: z.string(), name: z.string(), iprev: z.string(), helo: z.string() }),
  tls: z.strictObject({ used: z.boolean(), version: z.string(), cipher: z.string() }),
  /** Without the recipients: each copy of this record goes to one of them, and the others may be a secret. */
  envelope: z.strictObject({ from: z.string(), recipientCount: z.number() }),
  author: z.strictObject({ kind: z.string(), address: z.string() }),
  spf: checked,
  dmarc: checked.extend({ policy: z.string() }),
  arc: z.strictObject({ result: z.string(), sealer: z.string() }),
  /** The DKIM signatures and keys as they were seen, so that the check can be repeated when the keys are gone from DNS. */
  dkim: z.array(
    z.strictObject({
      domain: z.string(),
      selector: z.string(),
      result: z.string(),
      keyHash: bytes,
      /** Where there was room for it. */
      key: keptKeyShape.optional(),
    }),
  ),
  decision: z.strictObject({ verdict: z.string(), rule: z.string(), policyHash: z.string() }),
  /** SHA-256 of the message as it was received, before anything was added or taken away. */
  received: bytes,
  /** SHA-256 of the message as it was handed on. */
  handedOn: bytes,
  /** Names of fields that were taken out because they claimed to be ours. */
  removed: z.array(z.string()).optional(),
});

/** What the gateway saw when it took a message from the Internet. It vouches for that, never for who wrote it. */
export type Provenance = z.infer<typeof shape>;

export type ProvenanceCheck =
  | { readonly kind: 'genuine'; readonly provenance: Provenance }
  | { readonly kind: 'invalid'; readonly reason: string };

// It travels in the notification beside the keys of the message, which together have 4 KiB.
export const maxProvenanceBytes = 2_560;
// Around the payload: signature, key and names.
const maxPayloadBytes = maxProvenanceBytes - 200;
// RFC 1035 §2.3.4.
const maxNameChars = 255;
// DESIGN §14: no more signatures are looked at.
const maxSignatures = 5;
const envelope = z.strictObject({ payload: bytes, signature: bytes, signer: bytes });
// DER around a raw Ed25519 public key (RFC 8410 §4).
const ed25519Public = Buffer.from('302a300506032b6570032100', 'hex');

const signedText = (payload: Uint8Array): Uint8Array => Buffer.concat([Buffer.from('epost/provenance\0'), payload]);

/** Signs a record. The encoding is the ring's for signed things: DAG-CBOR of payload, signature and signer. */
export function signProvenance(provenance: Provenance, signer: Signer): Uint8Array {
  const payload = encodeShort(provenance);
  return encode({ payload, signature: signer.sign(signedText(payload)), signer: signer.public });
}

// A stranger chooses most of these texts; the record must fit into a notification whatever they are.
function encodeShort(provenance: Provenance): Uint8Array {
  for (const attempt of attempts(provenance)) {
    const payload = encode(attempt);
    if (payload.length <= maxPayloadBytes) return payload;
  }
  return encode(shortened({ ...provenance, dkim: [], removed: [] }, 40));
}

/** Keys go first, those of least use before the others; then long texts. */
function* attempts(provenance: Provenance): Generator<Provenance> {
  let kept = shortened(provenance, maxNameChars);
  yield kept;
  for (const dropped of leastUsefulKeys(kept)) {
    const dkim = kept.dkim.map((one, index) => (index === dropped ? withoutKey(one) : one));
    kept = { ...kept, dkim };
    yield kept;
  }
  for (const maxText of [100, 40]) yield shortened(kept, maxText);
}

/** A key proves nothing for a signature that failed, and most for one that passed for the author. */
function leastUsefulKeys({ dkim, author }: Provenance): number[] {
  const authorDomain = author.address.slice(author.address.lastIndexOf('@') + 1);
  const use = ({ result, domain }: Provenance['dkim'][number]): number =>
    result !== 'pass' ? 0 : authorDomain === domain || authorDomain.endsWith(`.${domain}`) ? 2 : 1;
  return dkim
    .flatMap((one, index) => (one.key === undefined ? [] : [{ index, use: use(one) }]))
    .sort((a, b) => a.use - b.use || b.index - a.index)
    .map(({ index }) => index);
}

function withoutKey({ key: _key, ...rest }: Provenance['dkim'][number]): Provenance['dkim'][number] {
  return rest;
}

/** Whether these bytes are a record signed by `signer`, and what it says. Never throws. */
export function checkProvenance(signed: Uint8Array, signer: Uint8Array): ProvenanceCheck {
  const invalid = (reason: string): ProvenanceCheck => ({ kind: 'invalid', reason });
  if (signed.length > maxProvenanceBytes) return invalid('too long');
  try {
    const outer = envelope.parse(decode(signed));
    if (Buffer.compare(outer.signer, signer) !== 0) return invalid('signed by another key');
    const key = createPublicKey({ key: Buffer.concat([ed25519Public, signer]), format: 'der', type: 'spki' });
    if (!verify(null, signedText(outer.payload), key, outer.signature)) return invalid('the signature does not match');
    return { kind: 'genuine', provenance: shape.parse(decode(outer.payload)) };
  } catch {
    return invalid('not a provenance record');
  }
}

function shortened<T>(value: T, maxText: number): T {
  // Half a surrogate pair has no encoding in UTF-8.
  if (typeof value === 'string') return value.slice(0, maxText).toWellFormed() as T;
  if (Array.isArray(value)) return value.slice(0, maxSignatures).map((item) => shortened(item, maxText)) as T;
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  // A key is kept whole or not at all.
  const pairs = Object.entries(value).map(([name, inner]) => [
    name,
    name === 'key' ? inner : shortened(inner, maxText),
  ]);
  return Object.fromEntries(pairs) as T;
}
