import { z } from 'zod';
import type { Address } from '../../policy/address.ts';
import { encodeCanonical, equalBytes } from '../identity/canonical.ts';
import { checkIdentityCertificate, type IdentityCertificate, type Trust } from '../identity/certificate.ts';
import type { SigningKey } from '../identity/keys.ts';
import { addressShape, timeShape } from '../identity/shapes.ts';
import { encodeSigned, readSigned, signBytes } from '../identity/signed.ts';
import { VerifiedBefore } from '../identity/verified-before.ts';
import { sha256 } from './block-cipher.ts';

/** What an identity says of itself, signed by its own key: where it can be reached. */
export interface IdentityRecord {
  readonly address: Address;
  /** Strictly increasing; the newest valid one counts. */
  readonly version: number;
  /** Peer ids of its contact nodes; the first is its home node. */
  readonly contacts: readonly string[];
  readonly publishedAt: number;
  /** Other names for identities of the ring, as `[name, who]`. Only the gateway's are asked for (node/mail/ring-names.ts). */
  readonly aliases?: readonly (readonly [Address, Address])[] | undefined;
  /** Of a mailing list: what senders have to know of it (node/mail/list). */
  readonly list?: ListRecord | undefined;
}

/** Who may write to a list. `members` includes its owners, and members on the Internet. */
export const postings = ['anyone', 'ring', 'members', 'owners'] as const;
export type Posting = (typeof postings)[number];
export const maxOwners = 8;

export interface ListRecord {
  readonly posting: Posting;
  /** Whether everybody in the ring can read who belongs to it, and so expand it himself. */
  readonly members: 'public' | 'private';
  /** They may write in its name. */
  readonly owners: readonly Address[];
}

/** What the ring's directory keeps for one address, at the k nodes closest to H("certificate", address). */
export interface DirectoryEntry {
  /** Exact bytes of the identity certificate. */
  readonly certificate: Uint8Array;
  /** Exact bytes of the signed identity record; absent while no node of the identity has spoken yet. */
  readonly record?: Uint8Array | undefined;
}

/** What the ring knows of an address. Only `none` is "no such user"; `unknown` is never taken for it. */
export type Lookup =
  | { readonly kind: 'found'; readonly certificate: IdentityCertificate; readonly record?: IdentityRecord | undefined }
  | { readonly kind: 'none' }
  | { readonly kind: 'revoked' }
  | { readonly kind: 'unknown'; readonly reason: string };

const tag = 'identity-record';
// A hundred aliases of ordinary length.
export const maxRecordBytes = 8 * 1024;
export const maxAliases = 200;
// A person's machines: a home node, a few others. More contacts would only slow the sender down.
const maxContacts = 8;

export const listShape = z.strictObject({
  posting: z.enum(postings),
  members: z.enum(['public', 'private']),
  owners: z.array(addressShape).max(maxOwners).readonly(),
});

const recordShape = z.strictObject({
  address: addressShape,
  version: z.int().positive(),
  contacts: z.array(z.string().min(1).max(128)).max(maxContacts),
  publishedAt: timeShape,
  aliases: z
    .array(z.tuple([addressShape, addressShape]))
    .max(maxAliases)
    .optional(),
  list: listShape.optional(),
});

/** Signs an identity's record with the identity's own key. Throws where it would be larger than anyone takes. */
export function makeIdentityRecord(record: IdentityRecord, signing: SigningKey): Uint8Array {
  return encodeSigned(signBytes(tag, encodeCanonical(recordShape.parse(record)), signing));
}

export function directoryKey(address: Address): Uint8Array {
  return sha256('certificate\0', address);
}

/** An entry whose signatures hold: the certificate's under the CA, the record's under the certificate's key. */
export interface CheckedEntry {
  readonly entry: DirectoryEntry;
  readonly certificate: IdentityCertificate;
  readonly record: IdentityRecord | undefined;
  readonly standing: 'valid' | 'revoked' | 'unknown';
  readonly key: Uint8Array;
  /** Tells apart two entries of one key. */
  readonly hash: Uint8Array;
}

/** Judges an entry from anyone. A revoked one is kept as the proof that the identity was there. Undefined for forgeries and expired ones. */
export function checkEntry(entry: DirectoryEntry, trust: Trust): CheckedEntry | undefined {
  const judged = checkIdentityCertificate(entry.certificate, trust);
  if (judged.kind === 'invalid') return undefined;
  const { certificate } = judged;
  const shown = entry.record === undefined ? undefined : readRecord(entry.record, certificate);
  if (entry.record !== undefined && shown === undefined) return undefined;
  return {
    entry,
    certificate,
    record: shown,
    standing: judged.kind,
    key: directoryKey(certificate.address),
    hash: entryHash(entry),
  };
}

/** What tells apart two entries of one key. */
export function entryHash({ certificate, record }: DirectoryEntry): Uint8Array {
  return sha256(certificate, record ?? '');
}

// Whoever brings a block in an identity's name is looked up in its record.
const recordsRead = new VerifiedBefore<IdentityRecord>(500);

function readRecord(bytes: Uint8Array, certificate: IdentityCertificate): IdentityRecord | undefined {
  if (bytes.length > maxRecordBytes) return undefined;
  const signer = certificate.signingKey;
  const record = recordsRead.find(signer, bytes, () => {
    const read = readSigned(tag, bytes, { shape: recordShape, maxBytes: maxRecordBytes, signer });
    return read.kind === 'verified' ? read.value : undefined;
  });
  return record?.address === certificate.address ? record : undefined;
}

/** Whether `left` replaces `right`: one in force before a revoked one, then the later certificate, then the newer record. A total order. */
export function supersedes(left: CheckedEntry, right: CheckedEntry): boolean {
  const order = [
    Number(left.standing !== 'revoked') - Number(right.standing !== 'revoked'),
    left.certificate.notBefore - right.certificate.notBefore,
    Buffer.compare(left.certificate.bytes, right.certificate.bytes),
    (left.record?.version ?? 0) - (right.record?.version ?? 0),
    Buffer.compare(left.hash, right.hash),
  ];
  return (order.find((difference) => difference !== 0) ?? 0) > 0;
}

/** The best of two entries of one key. */
export function betterEntry(left: CheckedEntry, right: CheckedEntry): CheckedEntry {
  return supersedes(left, right) ? left : right;
}

export function sameEntry(left: CheckedEntry, right: CheckedEntry): boolean {
  return equalBytes(left.hash, right.hash);
}
