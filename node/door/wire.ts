import { z } from 'zod';
import { checkIdentityCertificate, type IdentityCertificate, type Trust } from '../identity/certificate.ts';
import { RevocationState } from '../identity/revocation.ts';
import type { RingDescriptor } from '../identity/ring.ts';
import { addressShape, domainShape, publicKeyShape, timeShape } from '../identity/shapes.ts';
import type { SendResult } from '../notify/notify.ts';
import type { Receipt } from '../notify/receipt.ts';
import { type Lookup, listShape, maxAliases } from '../store/directory.ts';
import { DoorFault } from './fault.ts';

// Shapes of what passes the door. Both sides check what they are handed: a gateway parses strangers' mail.

const bytes = (max: number) => z.instanceof(Uint8Array).refine((value) => value.length <= max, 'too many bytes');
const hash = z.instanceof(Uint8Array).refine((value) => value.length === 32, 'not 32 bytes');
const maxSealed = 6144;

export const shapes = {
  insert: z.strictObject({
    blocks: z.array(z.tuple([hash, bytes(65_536)])).max(64),
    lease: z.strictObject({ identity: addressShape, until: timeShape }),
  }),
  inserted: z.strictObject({ copies: z.int().nonnegative(), wanted: z.int().nonnegative() }),
  fetch: hash,
  block: bytes(65_536),
  lookup: addressShape,
  sealed: z.strictObject({ id: hash, recipient: addressShape, bytes: bytes(maxSealed) }),
  attach: z.strictObject({ number: z.int().nonnegative(), certificate: bytes(2048) }),
  detach: z.int().nonnegative(),
  accept: z.strictObject({ number: z.int().nonnegative(), sealed: bytes(maxSealed) }),
  accepted: bytes(1024).nullable(),
  watch: z.array(z.strictObject({ id: hash, recipient: addressShape })).max(500),
  receipt: z.strictObject({
    id: hash,
    verdict: z.enum(['accepted', 'refused', 'undeliverable']),
    rule: z.string().max(256).optional(),
    item: hash.optional(),
    at: timeShape,
    by: addressShape,
    bytes: bytes(1024),
  }),
  call: z.strictObject({ method: z.string().max(64), args: z.unknown() }),
  sent: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('pending'), copies: z.int().nonnegative() }),
    z.strictObject({ kind: z.literal('unknown'), reason: z.string().max(2000) }),
  ]),
  found: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('found'),
      certificate: bytes(2048),
      record: z
        .strictObject({
          address: addressShape,
          version: z.int().nonnegative(),
          contacts: z.array(z.string().max(128)).max(64),
          publishedAt: timeShape,
          aliases: z
            .array(z.tuple([addressShape, addressShape]))
            .max(maxAliases)
            .optional(),
          list: listShape.optional(),
        })
        .optional(),
    }),
    z.strictObject({ kind: z.literal('none') }),
    z.strictObject({ kind: z.literal('revoked') }),
    z.strictObject({ kind: z.literal('unknown'), reason: z.string().max(2000) }),
  ]),
  trust: z.strictObject({
    ring: z.strictObject({
      name: domainShape,
      domains: z.array(domainShape).max(100),
      caKey: publicKeyShape,
      createdAt: timeShape,
    }),
    revocations: bytes(120 * 1024).nullable(),
  }),
} as const;

/** The value in its shape, or DoorFault `damaged` that says what it should have been. */
export function shaped<T>(shape: z.ZodType<T>, value: unknown, what: string): T {
  const read = shape.safeParse(value);
  if (read.success) return read.data;
  const issue = read.error.issues[0];
  throw new DoorFault('damaged', `${what}: ${issue?.path.join('.') ?? ''} ${issue?.message ?? 'another shape'}`);
}

export function encodeTrust(trust: Pick<Trust, 'ring' | 'revocations'>): unknown {
  const { name, domains, caKey, createdAt } = trust.ring;
  return { ring: { name, domains: [...domains], caKey, createdAt }, revocations: trust.revocations.bytes() ?? null };
}

export function decodeTrust(value: unknown): { ring: RingDescriptor; revocations: RevocationState } {
  const { ring, revocations } = shaped(shapes.trust, value, 'trust');
  return { ring, revocations: new RevocationState(ring, revocations ?? undefined) };
}

export function encodeLookup(lookup: Lookup): unknown {
  if (lookup.kind !== 'found') return lookup;
  return { kind: 'found', certificate: lookup.certificate.bytes, record: lookup.record };
}

/** The certificate is proven again on this side: what is sealed to it must not rest on a frame. */
export function decodeLookup(value: unknown, trust: Trust): Lookup {
  const found = shaped(shapes.found, value, 'lookup');
  if (found.kind !== 'found') return found;
  const check = checkIdentityCertificate(found.certificate, trust);
  if (check.kind === 'revoked') return { kind: 'revoked' };
  if (check.kind === 'invalid')
    return { kind: 'unknown', reason: `its certificate is not valid here: ${check.reason}` };
  return {
    kind: 'found',
    certificate: check.certificate,
    ...(found.record === undefined ? {} : { record: found.record }),
  };
}

/** The attached identity, as far as the node itself can prove it. */
export function attachable(certificate: Uint8Array, trust: Trust): IdentityCertificate {
  const check = checkIdentityCertificate(certificate, trust);
  // Whoever attaches takes over: a gateway that strangers got hold of must not take users' mail away from where their keys are.
  if ('certificate' in check && check.certificate.kind === 'user')
    throw new DoorFault('failed', 'cannot attach: the notifications of a user come to the node that holds his keys');
  if (check.kind === 'valid' || check.kind === 'unknown') return check.certificate;
  throw new DoorFault('failed', `cannot attach: ${check.reason}`);
}

export function decodeReceipt(value: unknown): Receipt {
  const { rule, item, ...rest } = shaped(shapes.receipt, value, 'receipt');
  return { ...rest, ...(rule === undefined ? {} : { rule }), ...(item === undefined ? {} : { item }) };
}

export function decodeSent(value: unknown): SendResult {
  return shaped(shapes.sent, value, 'notify');
}
