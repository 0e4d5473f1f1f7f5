import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { encode } from '@ipld/dag-cbor';
import type { Address } from '../../../policy/address.ts';
import { checkIdentityCertificate, type IdentityCertificate, type Trust } from '../../identity/certificate.ts';
import type { SigningKey } from '../../identity/keys.ts';
import { decodeSigned, encodeSigned, signBytes, verifySigned } from '../../identity/signed.ts';
import { NotifyFault } from '../fault.ts';
import { asBytes, asFields, asTime, sameBytes } from '../field.ts';
import { maxBodyBytes, maxSealedBytes } from '../lifetime.ts';
import type { Epoch } from './epoch.ts';

const signTag = 'group-saying';
const nonceBytes = 12;
const tagBytes = 16;
const idBytes = 16;

/** What a member said to a group, proven. */
export interface Saying {
  readonly from: IdentityCertificate;
  readonly epoch: number;
  /** Its place in the speaker's log of this group. */
  readonly seq: number;
  /** 32 bytes, of this saying alone. */
  readonly id: Uint8Array;
  readonly at: number;
  readonly body: Uint8Array;
}

export type SayingOpened =
  | ({ readonly kind: 'opened' } & Saying)
  /** The epoch is not known yet, or the speaker's standing cannot be known now. */
  | { readonly kind: 'later'; readonly reason: string }
  /** Nothing will make this a saying. `honest`: one who knows less, or earlier, than we could have taken it for one. */
  | { readonly kind: 'never'; readonly honest: boolean; readonly reason: string };

/** Unique among all groups and speakers, and nobody else's can be the same. */
function sayingId(group: Uint8Array, from: Address, name: Uint8Array): Uint8Array {
  return createHash('sha256').update('epost/saying id\0').update(group).update(from).update('\0').update(name).digest();
}

function boundTo(group: Uint8Array, epoch: number): Buffer {
  return Buffer.concat([Buffer.from(`epost/saying\0${epoch}\0`), group]);
}

/** Signs, then seals to the epoch (DESIGN §5): group, epoch, speaker, place, id and time are inside what is signed. */
export function say(options: {
  readonly epoch: Epoch;
  readonly from: { readonly certificate: IdentityCertificate; readonly signing: SigningKey };
  readonly seq: number;
  readonly body: Uint8Array;
  readonly now: number;
}): Uint8Array {
  const { epoch, from, seq, body, now } = options;
  if (body.length > maxBodyBytes)
    throw new NotifyFault('too-large', `a body of ${body.length} bytes, at most ${maxBodyBytes}`);
  const payload = encode({
    v: 1,
    group: epoch.group,
    epoch: epoch.number,
    seq,
    name: randomBytes(idBytes),
    at: now,
    body,
  });
  const plain = encode({
    signed: encodeSigned(signBytes(signTag, payload, from.signing)),
    certificate: from.certificate.bytes,
  });
  // Random nonces under one key are safe for 2^32 messages: an epoch has none of that size.
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', epoch.key, nonce);
  cipher.setAAD(boundTo(epoch.group, epoch.number));
  const box = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  return encode({ v: 1, epoch: epoch.number, nonce, box });
}

function unseal(outer: { nonce: Uint8Array; box: Uint8Array }, epoch: Epoch): Uint8Array | undefined {
  const { nonce, box } = outer;
  try {
    const decipher = createDecipheriv('aes-256-gcm', epoch.key, nonce);
    decipher.setAAD(boundTo(epoch.group, epoch.number));
    decipher.setAuthTag(box.subarray(-tagBytes));
    return Buffer.concat([decipher.update(box.subarray(0, -tagBytes)), decipher.final()]);
  } catch {
    return undefined;
  }
}

const never = (reason: string, honest = false): SayingOpened => ({ kind: 'never', honest, reason });

/**
 * Opens and proves what was said to a group. Bounded by its size; never throws for what the bytes are. Whether it is new is for the caller.
 * Who was a member in the epoch it was said in is its speaker's right to say it.
 */
export function openSaying(bytes: Uint8Array, epochs: ReadonlyMap<number, Epoch>, trust: Trust): SayingOpened {
  if (bytes.length > maxSealedBytes) return never('it is too large');
  try {
    const fields = asFields(bytes, ['v', 'epoch', 'nonce', 'box']);
    if (fields['v'] !== 1) return never('it is of another version');
    const number = asTime(fields['epoch']);
    const epoch = epochs.get(number);
    if (epoch === undefined) {
      const reason = `the key of epoch ${number} is not known here`;
      return number > Math.max(0, ...epochs.keys()) ? { kind: 'later', reason } : never(reason, true);
    }
    const outer = {
      nonce: asBytes(fields['nonce'], nonceBytes, nonceBytes),
      box: asBytes(fields['box'], tagBytes, maxSealedBytes),
    };
    const plain = unseal(outer, epoch);
    return plain === undefined ? never('the key of its epoch does not open it') : prove(plain, epoch, trust);
  } catch (error) {
    return never(error instanceof Error ? error.message : 'it cannot be read');
  }
}

function prove(plain: Uint8Array, epoch: Epoch, trust: Trust): SayingOpened {
  const { signed: signedBytes, certificate } = asFields(plain, ['signed', 'certificate']);
  const check = checkIdentityCertificate(asBytes(certificate, 1, maxSealedBytes), trust);
  if (check.kind === 'unknown') return { kind: 'later', reason: check.reason };
  if (check.kind !== 'valid') return never(`the speaker's certificate: ${check.reason}`, true);
  const from = check.certificate;
  const signed = decodeSigned(asBytes(signedBytes, 1, maxSealedBytes), maxSealedBytes);
  if (signed === undefined || !sameBytes(signed.signer, from.signingKey) || !verifySigned(signTag, signed))
    return never('the signature is not the named speaker’s');
  if (!epoch.members.includes(from.address)) return never(`${from.address} is not a member`);
  const fields = asFields(signed.payload, ['v', 'group', 'epoch', 'seq', 'name', 'at', 'body']);
  if (
    fields['v'] !== 1 ||
    fields['epoch'] !== epoch.number ||
    !sameBytes(asBytes(fields['group'], 32, 32), epoch.group)
  )
    return never('it was said elsewhere');
  const name = asBytes(fields['name'], idBytes, idBytes);
  return {
    kind: 'opened',
    from,
    epoch: epoch.number,
    seq: asTime(fields['seq']),
    id: sayingId(epoch.group, from.address, name),
    at: asTime(fields['at']),
    body: asBytes(fields['body'], 0, maxBodyBytes),
  };
}
