import { createHash } from 'node:crypto';
import { encode } from '@ipld/dag-cbor';
import { type Address, parseAddress } from '../../policy/address.ts';
import type { IdentityCertificate } from '../identity/certificate.ts';
import type { SigningKey } from '../identity/keys.ts';
import { decodeSigned, encodeSigned, signBytes, verifySigned } from '../identity/signed.ts';
import { NotifyFault } from './fault.ts';
import { asBytes, asFields, asText, asTime, sameBytes } from './field.ts';
import { maxReceiptBytes, maxRuleLength } from './lifetime.ts';

const signTag = 'receipt';

export type Verdict = 'accepted' | 'refused' | 'undeliverable';

/**
 * A recipient's answer. With `item` it speaks only of the notification with exactly those bytes (their SHA-256): that is
 * how what cannot be opened is answered, because its id proves nothing and must not silence the true owner of the id.
 */
export interface Receipt {
  readonly id: Uint8Array;
  readonly verdict: Verdict;
  readonly rule?: string;
  readonly item?: Uint8Array;
  readonly at: number;
  readonly by: Address;
  /** As signed; empty where this node itself found a notification undeliverable. */
  readonly bytes: Uint8Array;
}

/** What a receipt's `item` names. */
export function itemOf(sealed: Uint8Array): Uint8Array {
  return createHash('sha256').update(sealed).digest();
}

export function makeReceipt(options: {
  readonly id: Uint8Array;
  readonly verdict: 'accepted' | 'refused';
  readonly rule?: string;
  readonly item?: Uint8Array;
  readonly by: IdentityCertificate;
  readonly signing: SigningKey;
  readonly now: number;
}): Receipt {
  const { id, verdict, item, by, signing, now } = options;
  const rule = options.rule?.slice(0, maxRuleLength);
  const facts = {
    id,
    verdict,
    at: now,
    ...(rule === undefined ? {} : { rule }),
    ...(item === undefined ? {} : { item }),
  };
  const payload = encode({ v: 1, by: by.address, rule: null, item: null, ...facts });
  return { ...facts, by: by.address, bytes: encodeSigned(signBytes(signTag, payload, signing)) };
}

function verdictOf(value: unknown): Verdict {
  if (value === 'accepted' || value === 'refused' || value === 'undeliverable') return value;
  throw new NotifyFault('damaged', 'a receipt with another verdict');
}

function addressOf(value: unknown): Address {
  const parsed = parseAddress(asText(value, 320));
  if (parsed.kind === 'invalid') throw new NotifyFault('damaged', 'a receipt by no address');
  return parsed.address;
}

/** The receipt and the key that signed it, or undefined where the bytes are none. Whose key that is remains to be seen. */
export function readReceipt(bytes: Uint8Array): { readonly receipt: Receipt; readonly signer: Uint8Array } | undefined {
  if (bytes.length > maxReceiptBytes) return undefined;
  try {
    const signed = decodeSigned(bytes, maxReceiptBytes);
    if (signed === undefined) return undefined;
    const fields = asFields(signed.payload, ['v', 'id', 'verdict', 'rule', 'item', 'at', 'by']);
    if (fields['v'] !== 1) return undefined;
    const { rule, item } = fields;
    const receipt: Receipt = {
      id: asBytes(fields['id'], 32, 32),
      verdict: verdictOf(fields['verdict']),
      ...(rule === null ? {} : { rule: asText(rule, maxRuleLength) }),
      ...(item === null ? {} : { item: asBytes(item, 32, 32) }),
      at: asTime(fields['at']),
      by: addressOf(fields['by']),
      bytes,
    };
    return verifySigned(signTag, signed) ? { receipt, signer: signed.signer } : undefined;
  } catch {
    return undefined;
  }
}

/** The receipt in `bytes` if the identity of `certificate` signed it; undefined for anything else. */
export function checkReceipt(
  bytes: Uint8Array,
  certificate: Pick<IdentityCertificate, 'signingKey' | 'address'>,
): Receipt | undefined {
  const read = readReceipt(bytes);
  if (read === undefined || !sameBytes(read.signer, certificate.signingKey)) return undefined;
  return read.receipt.by === certificate.address ? read.receipt : undefined;
}

/** Whether `receipt` (whose signer the caller has checked) answers the notification `id` with these bytes. */
export function answers(receipt: Receipt, id: Uint8Array, item: Uint8Array): boolean {
  return sameBytes(receipt.id, id) && (receipt.item === undefined || sameBytes(receipt.item, item));
}
