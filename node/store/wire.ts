import { decode, encode } from '@ipld/dag-cbor';
import { z } from 'zod';
import { addressShape, bytesShape, timeShape } from '../identity/shapes.ts';
import { type Lease, maxBlockBytes } from './content.ts';
import { StoreFault } from './fault.ts';
import { maxHeadBytes } from './head.ts';
import { maxLeasesCarried } from './lease-disk.ts';
import { maxRoundBytes } from './round.ts';

/** What one insert frame carries: two full chunks with their leases, below the overlay's bound of 128 KiB. */
export const maxInsertBytes = 126_000;
/** Blocks in one insert frame: small ones fill it before this bites. */
export const maxInsertBlocks = 512;
/** Items asked for in one `lacks`: 1,000 of 40 bytes are 40 KB, and the answer is one bit each. */
export const maxLacksItems = 1_000;
/** Keys renewed in one request: 32 KB, and one bit each as the answer. */
export const maxRenewKeys = 1_000;
/** Blocks in one exchange of leases. */
export const maxExchangeItems = 128;
/** Bytes of leases in one exchange, each way; the rest is for the next one. An address has up to 320. */
export const maxExchangeBytes = 96_000;
/** A summary has a sum for each first byte of a key; the whole in one hash, or the beginning of each sum (2 KB). */
export const summaryBuckets = 256;
export const summaryRootBytes = 16;
export const summaryStampBytes = 8;
/** An item of `lacks` is a key and, for what changes under its key, the first bytes of the hash of what lies here. */
export const stampBytes = 8;
/** How long one `sync` is kept waiting: below what the overlay gives any handler. Handing over many copies takes several. */
export const handOverWaitMs = 60_000;

const bounded = (max: number): z.ZodType<Uint8Array> =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length <= max, `not up to ${max} bytes`);
const keyShape = bytesShape(32);
// A certificate and a record; the directory checks them strictly.
const documentShape = bounded(8 * 1024);
const headShape = bounded(maxHeadBytes);

export const kinds = ['block', 'head', 'entry'] as const;
export type Kind = (typeof kinds)[number];

const leaseShape = z.strictObject({ identity: addressShape, until: timeShape, reserve: z.boolean().default(false) });
const leasesShape = z.array(leaseShape).max(maxLeasesCarried);
const leasedShape = z.strictObject({ bytes: bounded(maxBlockBytes), leases: leasesShape });
const claimedShape = z.strictObject({ key: keyShape, leases: leasesShape });
const roundShape = z.strictObject({ certificate: documentShape, statement: bounded(maxRoundBytes) });
const entryShape = z.strictObject({ certificate: documentShape, record: documentShape.optional() });

/** Bodies of requests and answers. Everything a peer sends goes through one of these first. */
export const shapes = {
  insert: z.strictObject({ blocks: z.array(leasedShape).min(1).max(maxInsertBlocks) }),
  /** `over`: nothing was kept, because the account named has no room. */
  inserted: z.strictObject({ kept: z.int().nonnegative(), over: z.string().max(400).optional() }),
  renew: z.strictObject({ keys: bounded(maxRenewKeys * 32), lease: leaseShape }),
  exchange: z.strictObject({ items: z.array(claimedShape).max(maxExchangeItems) }),
  exchanged: z.strictObject({
    items: z.array(z.strictObject({ held: z.boolean(), leases: leasesShape })).max(maxExchangeItems),
  }),
  summary: z.strictObject({ root: bytesShape(summaryRootBytes) }),
  /** Null: the same here. */
  summarised: z.strictObject({ stamps: bytesShape(summaryBuckets * summaryStampBytes).nullable() }),
  putRound: roundShape,
  roundPut: z.strictObject({}),
  round: z.strictObject({ key: keyShape }),
  roundFound: z.strictObject({ round: roundShape.nullable() }),
  fetch: z.strictObject({ key: keyShape }),
  fetched: z.strictObject({ block: bounded(maxBlockBytes).nullable() }),
  lacks: z.strictObject({ kind: z.enum(kinds), items: bounded(maxLacksItems * (32 + stampBytes)) }),
  lacked: z.strictObject({ bits: bounded(Math.ceil(maxLacksItems / 8)) }),
  putHead: z.strictObject({ head: headShape }),
  headPut: z.strictObject({ verdict: z.enum(['kept', 'stale', 'fork']), heads: z.array(headShape).max(2) }),
  heads: z.strictObject({ key: keyShape }),
  headsFound: z.strictObject({ heads: z.array(headShape).max(2) }),
  putEntry: entryShape,
  entryPut: z.strictObject({ entry: entryShape }),
  entry: z.strictObject({ key: keyShape }),
  entryFound: z.strictObject({ entry: entryShape.nullable() }),
  sync: z.strictObject({}),
  synced: z.strictObject({ complete: z.boolean() }),
};

export const methods = {
  insert: 'store/insert',
  renew: 'store/renew',
  exchange: 'store/exchange',
  summary: 'store/summary',
  putRound: 'store/round-put',
  round: 'store/round',
  fetch: 'store/fetch',
  lacks: 'store/lacks',
  putHead: 'store/head-put',
  heads: 'store/heads',
  putEntry: 'store/entry-put',
  entry: 'store/entry',
  sync: 'store/sync',
} as const;

export function packBody(value: object): Uint8Array {
  return encode(value);
}

/** Reads a body from a peer; throws StoreFault `invalid` when it is not of the shape. The overlay has bounded its size. */
export function unpackBody<T>(bytes: Uint8Array, shape: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = decode(bytes);
  } catch (cause) {
    throw new StoreFault('invalid', 'a body is not DAG-CBOR', { cause });
  }
  const read = shape.safeParse(value);
  if (!read.success) throw new StoreFault('invalid', 'a body is not of its shape', { cause: read.error });
  return read.data;
}

export function itemBytes(kind: Kind): number {
  return kind === 'block' ? 32 : 32 + stampBytes;
}

/** The items of a `lacks`, one behind the other. */
export function packItems(items: readonly { key: Uint8Array; stamp?: Uint8Array }[]): Uint8Array {
  return Buffer.concat(items.flatMap(({ key, stamp }) => (stamp === undefined ? [key] : [key, stamp])));
}

export function unpackItems(kind: Kind, bytes: Uint8Array): { key: Uint8Array; stamp: Uint8Array }[] {
  const each = itemBytes(kind);
  if (bytes.length % each !== 0) throw new StoreFault('invalid', 'items are not whole');
  return Array.from({ length: bytes.length / each }, (_, index) => {
    const item = bytes.subarray(index * each, (index + 1) * each);
    return { key: item.subarray(0, 32), stamp: item.subarray(32) };
  });
}

/** As many as the bytes of an exchange allow, at least one: those that are left out are exchanged later. */
export function fittingLeases<T extends { readonly leases: readonly Lease[] }>(items: readonly T[]): T[] {
  let bytes = 0;
  return items.filter(({ leases }, index) => {
    bytes += 64 + leases.reduce((sum, { identity }) => sum + identity.length + 40, 0);
    return index === 0 || bytes <= maxExchangeBytes;
  });
}

export function packBits(bits: readonly boolean[]): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(bits.length / 8));
  bits.forEach((bit, index) => {
    if (bit) bytes[index >> 3] = (bytes[index >> 3] ?? 0) | (1 << (index & 7));
  });
  return bytes;
}

export function bitAt(bytes: Uint8Array, index: number): boolean {
  return (((bytes[index >> 3] ?? 0) >> (index & 7)) & 1) === 1;
}
