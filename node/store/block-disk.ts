import type { Database, RootDatabase } from 'lmdb';
import { equalBytes } from '../identity/canonical.ts';
import { sha256 } from './block-cipher.ts';
import type { Block } from './content.ts';
import { LeaseDisk, maxLeasesCarried, type PaidLease, type Payer } from './lease-disk.ts';

export type Found = { readonly kind: 'block'; readonly bytes: Uint8Array } | { readonly kind: 'none' | 'damaged' };

/** A block with everyone it is kept for. */
export interface LeasedBlock extends Block {
  readonly leases: readonly PaidLease[];
}

/** On what terms blocks are taken. */
export interface Terms {
  readonly now: number;
  /** Pays for those that come without a lease. */
  readonly payer: Payer;
  /** The bytes an account may have here. */
  readonly allowance: (payer: Payer) => number;
}

export type Put = { readonly kind: 'kept' } | { readonly kind: 'over-quota'; readonly payer: Payer };

type Bytes = Database<Buffer, Uint8Array>;

// Above a quota, for the records that it takes to delete something.
const reserveShare = 0.1;
const afterKey = new Uint8Array(1);

/**
 * Content blocks on disk (lmdb). A write has happened when its promise resolves: synced, in one commit with the writes of the same moment.
 * What is read is hashed first; what does not match its key is set aside under its key and counts as damaged, never as absent or whole.
 * What nobody keeps any more rests in the trash: still here and readable, until a later pass takes it away for good.
 */
export class BlockDisk {
  readonly leases: LeaseDisk;
  readonly #root: RootDatabase<Buffer, string>;
  readonly #blocks: Bytes;
  readonly #damaged: Bytes;
  readonly #trash: Bytes;
  #changed: (key: Uint8Array) => void = () => undefined;

  constructor(root: RootDatabase<Buffer, string>) {
    const db = (name: string): Bytes =>
      root.openDB<Buffer, Uint8Array>(name, { encoding: 'binary', keyEncoding: 'binary' });
    this.#root = root;
    this.#blocks = db('blocks');
    this.#damaged = db('damaged');
    this.#trash = db('trash');
    this.leases = new LeaseDisk(root);
  }

  /** Whether it is here and not in the trash; not whether it is whole. */
  isWanted(key: Uint8Array): boolean {
    return this.#blocks.doesExist(key) && !this.#trash.doesExist(key);
  }

  /** Tells of every key that became wanted here, or no longer is. */
  onChange(listener: (key: Uint8Array) => void): void {
    this.#changed = listener;
  }

  /** Does something to a block within a transaction, and tells when it is then wanted or no longer is. */
  #touch<T>(key: Uint8Array, work: () => T): T {
    const before = this.isWanted(key);
    const done = work();
    if (this.isWanted(key) !== before) this.#changed(key);
    return done;
  }

  /** Keeps blocks whose keys have been checked, all or none of them. One that is already here whole is not written again. */
  put(blocks: readonly LeasedBlock[], terms: Terms): Promise<Put> {
    return this.#root.transaction(() => {
      const over = this.#overQuota(blocks, terms);
      if (over !== undefined) return { kind: 'over-quota', payer: over };
      for (const block of blocks) this.#touch(block.key, () => this.#putOne(block, terms));
      return { kind: 'kept' };
    });
  }

  #putOne({ key, bytes, leases }: LeasedBlock, terms: Terms): void {
    const here = this.#blocks.get(key);
    if (here === undefined || !equalBytes(here, bytes)) this.#blocks.putSync(key, Buffer.from(bytes));
    if (this.#damaged.doesExist(key)) this.#damaged.removeSync(key);
    if (leases.length === 0) this.leases.orphan(key, bytes.length, terms.now, terms.payer);
    const longer = leases.filter((lease) => this.leases.extend(key, bytes.length, lease)).length > 0;
    // A holder that has not noticed yet that the leases have ended may push a copy: that changes nothing.
    if (longer || leases.length === 0 || this.isMisplaced(key)) this.#trash.removeSync(key);
  }

  #overQuota(blocks: readonly LeasedBlock[], { payer, allowance }: Terms): Payer | undefined {
    const sums = new Map<Payer, number>();
    for (const { key, bytes, leases } of blocks)
      for (const [account, more] of this.leases.added(key, bytes.length, leases, payer))
        sums.set(account, (sums.get(account) ?? 0) + more);
    const factor = blocks.some(({ leases }) => leases.some(({ reserve }) => reserve === true)) ? 1 + reserveShare : 1;
    return [...sums].find(([account, more]) => this.leases.usage(account) + more > factor * allowance(account))?.[0];
  }

  /** Puts a replaced copy of what is here or was found damaged: nobody's account changes. */
  async heal(block: Block, now: number, payer: Payer): Promise<void> {
    await this.put([{ ...block, leases: [] }], { now, payer, allowance: () => Number.POSITIVE_INFINITY });
  }

  /**
   * Adds leases to each of these that is here; for each, whether it is. Adds no bytes, so no quota stands against it. Out of the trash comes
   * what is kept longer than before: others' old leases, which are known here too, must not keep two holders restoring each other's.
   */
  renew(keys: readonly Uint8Array[], leases: (key: Uint8Array) => readonly PaidLease[]): Promise<boolean[]> {
    return this.#root.transaction(() =>
      keys.map((key) => {
        if (!this.#blocks.doesExist(key)) return false;
        const wanted = leases(key);
        if (wanted.length === 0) return true;
        const size = this.leases.size(key) ?? this.#blocks.get(key)?.length ?? 0;
        const longer = wanted.filter((lease) => this.leases.extend(key, size, lease)).length > 0;
        if (longer && this.#trash.doesExist(key)) this.#touch(key, () => this.#trash.removeSync(key));
        return true;
      }),
    );
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
    await this.#root.transaction(() =>
      this.#touch(key, () => {
        this.#damaged.putSync(key, bytes);
        this.#blocks.removeSync(key);
      }),
    );
    return { kind: 'damaged' };
  }

  /** The block, verified, where nothing has to be written for it to be had; undefined says no more than that {@link get} is to be asked. */
  atHand(key: Uint8Array): Uint8Array | undefined {
    const bytes = this.#blocks.get(key);
    if (bytes === undefined || !equalBytes(sha256(bytes), key) || this.#trash.doesExist(key)) return undefined;
    return bytes;
  }

  /** The leases that go along when a block moves. */
  carried(key: Uint8Array): PaidLease[] {
    return this.leases.of(key).slice(0, maxLeasesCarried);
  }

  /** When a block was put into the trash. */
  trashedAt(key: Uint8Array): number | undefined {
    const value = this.#trash.get(key);
    return value === undefined ? undefined : Number(value.readBigUInt64BE());
  }

  /** Whether it is in the trash only because its place is elsewhere: then a node that thinks otherwise may have it taken out again. */
  isMisplaced(key: Uint8Array): boolean {
    return this.#trash.get(key)?.[8] === 1;
  }

  /** Puts into the trash what `stillUnwanted` says so of at that moment. Its leases stay with it. */
  trash(
    keys: readonly Uint8Array[],
    why: { readonly now: number; readonly misplaced: boolean },
    stillUnwanted: (key: Uint8Array) => boolean,
  ): Promise<number> {
    const value = Buffer.alloc(9);
    value.writeBigUInt64BE(BigInt(why.now));
    value[8] = why.misplaced ? 1 : 0;
    return this.#root.transaction(() => {
      const going = keys.filter((key) => this.has(key) && !this.#trash.doesExist(key) && stillUnwanted(key));
      for (const key of going) this.#touch(key, () => this.#trash.putSync(key, value));
      return going.length;
    });
  }

  /** Takes a block that somebody read out of the trash again: it counts as one whose leases are not known, from now on. */
  async restore(key: Uint8Array, now: number, payer: Payer): Promise<void> {
    if (!this.#trash.doesExist(key)) return;
    await this.#root.transaction(() => {
      const size = this.leases.size(key) ?? this.#blocks.get(key)?.length ?? 0;
      this.#touch(key, () => this.#trash.removeSync(key));
      this.leases.drop(key);
      this.leases.orphan(key, size, now, payer);
    });
  }

  /** Notes which of these are here without a lease and were not known as such. */
  async noteOrphans(keys: readonly Uint8Array[], now: number, payer: Payer): Promise<void> {
    await this.#root.transaction(() => {
      for (const key of keys) this.leases.orphan(key, this.#blocks.get(key)?.length ?? 0, now, payer);
    });
  }

  /** Deletes for good what has been in the trash since before then; what was restored meanwhile stays. */
  empty(keys: readonly Uint8Array[], trashedBefore: number): Promise<number> {
    return this.#root.transaction(() => {
      let deleted = 0;
      for (const key of keys) {
        const at = this.trashedAt(key);
        if (at === undefined || at > trashedBefore) continue;
        this.#trash.removeSync(key);
        this.#blocks.removeSync(key);
        this.leases.drop(key);
        deleted++;
      }
      return deleted;
    });
  }

  /** Sums up the accounts anew; how many were wrong. */
  recount(): Promise<number> {
    return this.#root.transaction(() => this.leases.recount());
  }

  /** Up to `limit` keys behind `after` and before `end`, in order: a page of all that lies here. */
  page(after: Uint8Array | undefined, limit: number, end?: Uint8Array): Uint8Array[] {
    return this.#page(this.#blocks, after, limit, end);
  }

  /** The same of the trash. */
  trashPage(after: Uint8Array | undefined, limit: number): Uint8Array[] {
    return this.#page(this.#trash, after, limit);
  }

  #page(db: Bytes, after: Uint8Array | undefined, limit: number, end?: Uint8Array): Uint8Array[] {
    const start = after === undefined ? {} : { start: Buffer.concat([after, afterKey]) };
    const until = end === undefined ? {} : { end };
    return [...db.getKeys({ ...start, ...until, limit, snapshot: false })].map((key) => Uint8Array.from(key));
  }

  /** Keys of copies that are set aside and not replaced yet, up to `limit`. */
  damaged(limit: number): Uint8Array[] {
    return [...this.#damaged.getKeys({ limit, snapshot: false })].map((key) => Uint8Array.from(key));
  }

  stats(): { blocks: number; damaged: number; bytes: number; trash: number; leases: number; orphans: number } {
    const size = (db: Bytes): number => pageBytes(db.getStats());
    return {
      blocks: this.#blocks.getKeysCount(),
      damaged: this.#damaged.getKeysCount(),
      bytes: size(this.#blocks),
      trash: this.#trash.getKeysCount(),
      ...this.leases.stats(),
    };
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
