import type { Database, RootDatabase } from 'lmdb';
import type { Address } from '../../policy/address.ts';
import { equalBytes } from '../identity/canonical.ts';
import { sha256 } from './block-cipher.ts';
import type { Block, Lease } from './content.ts';

export type Found = { readonly kind: 'block'; readonly bytes: Uint8Array } | { readonly kind: 'none' | 'damaged' };

/** A block with everyone it is kept for. */
export interface LeasedBlock extends Block {
  readonly leases: readonly Lease[];
}

type Bytes = Database<Buffer, Uint8Array>;

/** More leases than this are not carried along when a block moves; those that end last are. */
export const maxLeasesCarried = 16;
const keyBytes = 32;
const afterKey = new Uint8Array(1);

/**
 * Content blocks on disk (lmdb). A write has happened when its promise resolves: synced, in one commit with the writes of the same moment.
 * What is read is hashed first; what does not match its key is set aside under its key and counts as damaged, never as absent or whole.
 */
export class BlockDisk {
  readonly #blocks: Bytes;
  readonly #leases: Bytes;
  readonly #damaged: Bytes;

  constructor(root: RootDatabase<Buffer, string>) {
    const db = (name: string): Bytes =>
      root.openDB<Buffer, Uint8Array>(name, { encoding: 'binary', keyEncoding: 'binary' });
    this.#blocks = db('blocks');
    this.#leases = db('leases');
    this.#damaged = db('damaged');
  }

  /** Keeps blocks whose keys have been checked. One that is already here whole is not written again. */
  async put(blocks: readonly LeasedBlock[]): Promise<void> {
    const writes: Promise<unknown>[] = [];
    for (const { key, bytes, leases } of blocks) {
      const here = this.#blocks.get(key);
      if (here === undefined || !equalBytes(here, bytes)) writes.push(this.#blocks.put(key, Buffer.from(bytes)));
      if (this.#damaged.doesExist(key)) writes.push(this.#damaged.remove(key));
      for (const lease of leases) {
        const write = this.#extend(key, lease);
        if (write !== undefined) writes.push(write);
      }
    }
    // What is visible is synced (no overlapping sync), so what needed no write is durable already.
    await Promise.all(writes);
  }

  #extend(key: Uint8Array, { identity, until }: Lease): Promise<boolean> | undefined {
    const name = Buffer.concat([key, Buffer.from(identity)]);
    const value = Buffer.alloc(8);
    value.writeBigUInt64BE(BigInt(until));
    const known = this.#leases.get(name);
    if (known !== undefined && Buffer.compare(known, value) >= 0) return undefined;
    return this.#leases.put(name, value);
  }

  /** Whether something lies under the key; not whether it is whole. */
  has(key: Uint8Array): boolean {
    return this.#blocks.doesExist(key);
  }

  /** The block, verified. A damaged one is set aside before the answer, and stays `damaged` until a good one is put. */
  async get(key: Uint8Array): Promise<Found> {
    const bytes = this.#blocks.get(key);
    if (bytes === undefined) return { kind: this.#damaged.doesExist(key) ? 'damaged' : 'none' };
    if (equalBytes(sha256(bytes), key)) return { kind: 'block', bytes };
    await Promise.all([this.#damaged.put(key, bytes), this.#blocks.remove(key)]);
    return { kind: 'damaged' };
  }

  /** The leases on a block, those that end last first. */
  leases(key: Uint8Array): Lease[] {
    const end = Buffer.concat([key, Buffer.from([0xff])]);
    const leases: Lease[] = [];
    for (const { key: name, value } of this.#leases.getRange({ start: key, end, snapshot: false }))
      leases.push({
        identity: Buffer.from(name.subarray(keyBytes)).toString() as Address,
        until: Number(Buffer.from(value).readBigUInt64BE()),
      });
    return leases.sort((left, right) => right.until - left.until).slice(0, maxLeasesCarried);
  }

  /** Up to `limit` keys behind `after`, in order: a page of all that lies here. */
  page(after: Uint8Array | undefined, limit: number): Uint8Array[] {
    const start = after === undefined ? {} : { start: Buffer.concat([after, afterKey]) };
    return [...this.#blocks.getKeys({ ...start, limit, snapshot: false })].map((key) => Uint8Array.from(key));
  }

  /** Keys of copies that are set aside and not replaced yet, up to `limit`. */
  damaged(limit: number): Uint8Array[] {
    return [...this.#damaged.getKeys({ limit, snapshot: false })].map((key) => Uint8Array.from(key));
  }

  stats(): { blocks: number; damaged: number; bytes: number } {
    const size = (db: Bytes): number => pageBytes(db.getStats());
    return { blocks: this.#blocks.getKeysCount(), damaged: this.#damaged.getKeysCount(), bytes: size(this.#blocks) };
  }
}

/** Bytes of the pages in use, from lmdb's own statistics. */
function pageBytes(stats: object): number {
  const count = (name: string): number => {
    const value: unknown = Reflect.get(stats, name);
    return typeof value === 'number' ? value : 0;
  };
  return count('pageSize') * (count('treeBranchPageCount') + count('treeLeafPageCount') + count('overflowPages'));
}
