import type { Database, RootDatabase } from 'lmdb';
import type { Address } from '../../policy/address.ts';
import type { Lease } from './content.ts';

/**
 * On whose account a copy lies here: an identity's own, whose node (or the node of a gateway that speaks for it) asked for it; or
 * `*owner`: the owner of a node that brought it in another's name. Whoever fills a disk is the one who is stopped.
 */
export type Payer = string;

/** A lease, and who pays for it here. */
export interface PaidLease extends Lease {
  readonly payer: Payer;
}

type Bytes = Database<Buffer, Uint8Array>;

const keyBytes = 32;
const fixedBytes = 12;

/** More leases than this are not carried along when a block moves; those that end last are. */
export const maxLeasesCarried = 16;

/**
 * Who each block is kept for (lmdb), and how many bytes lie here on whose account. A lease is (block, identity) to (until, bytes, payer); a
 * block without one has an entry of its own, so that it is found and paid for too. All writes happen within the caller's transaction, so the
 * sums are never apart from what they sum up; {@link recount} makes them anew.
 */
export class LeaseDisk {
  readonly #leases: Bytes;
  readonly #orphans: Bytes;
  readonly #usage: Database<Buffer, string>;

  constructor(root: RootDatabase<Buffer, string>) {
    const options = { encoding: 'binary', keyEncoding: 'binary' } as const;
    this.#leases = root.openDB<Buffer, Uint8Array>('leases', options);
    this.#orphans = root.openDB<Buffer, Uint8Array>('orphans', options);
    this.#usage = root.openDB<Buffer, string>('usage', { encoding: 'binary' });
  }

  /** All leases on a block, those that end last first. */
  of(key: Uint8Array): PaidLease[] {
    return this.#range(key)
      .map(({ name, value }) => ({
        identity: Buffer.from(name.subarray(keyBytes)).toString() as Address,
        until: Number(value.readBigUInt64BE()),
        payer: payerIn(value),
      }))
      .sort((left, right) => right.until - left.until);
  }

  /** Since when a block has been here without any lease; undefined when it has one, or nobody has looked yet. */
  orphanSince(key: Uint8Array): number | undefined {
    const value = this.#orphans.get(key);
    return value === undefined ? undefined : Number(value.readBigUInt64BE());
  }

  /** Bytes of a block as far as an entry tells; undefined for one from before sizes were written down. */
  size(key: Uint8Array): number | undefined {
    const orphan = this.#orphans.get(key);
    if (orphan !== undefined) return orphan.readUInt32BE(8);
    const sizes = this.#range(key).map(({ value }) => (value.length < fixedBytes ? 0 : value.readUInt32BE(8)));
    return sizes.find((size) => size > 0);
  }

  /** Bytes that a block would add to an account: none when that account pays for it already. */
  added(key: Uint8Array, size: number, leases: readonly PaidLease[], orphanPayer: Payer): Map<Payer, number> {
    const sums = new Map<Payer, number>();
    for (const { identity, payer } of leases) {
      const known = this.#leases.get(nameOf(key, identity));
      if (known === undefined || (payerIn(known) !== payer && prefers(payer, payerIn(known), identity)))
        sums.set(payer, (sums.get(payer) ?? 0) + size);
    }
    if (leases.length === 0 && this.#range(key, 1).length === 0 && this.#orphans.get(key) === undefined)
      sums.set(orphanPayer, size);
    return sums;
  }

  /** Makes a lease last at least until then; whether it does so longer than before. An account of the identity's own is never replaced by another's. */
  extend(key: Uint8Array, size: number, { identity, until, payer }: PaidLease): boolean {
    this.#forgetOrphan(key);
    const name = nameOf(key, identity);
    const known = this.#leases.get(name);
    if (known === undefined) {
      this.#leases.putSync(name, leaseValue(until, size, payer));
      this.#add(payer, size);
      return true;
    }
    const [oldPayer, oldUntil] = [payerIn(known), Number(known.readBigUInt64BE())];
    const oldSize = known.length < fixedBytes ? 0 : known.readUInt32BE(8);
    const newPayer = oldPayer === '' || prefers(payer, oldPayer, identity) ? payer : oldPayer;
    if (oldUntil >= until && newPayer === oldPayer && oldSize === size) return false;
    this.#leases.putSync(name, leaseValue(Math.max(oldUntil, until), size, newPayer));
    this.#add(oldPayer, -oldSize);
    this.#add(newPayer, size);
    return until > oldUntil;
  }

  /** Notes that a block is here without a lease. */
  orphan(key: Uint8Array, size: number, since: number, payer: Payer): void {
    if (this.#range(key, 1).length > 0 || this.#orphans.get(key) !== undefined) return;
    this.#orphans.putSync(key, leaseValue(since, size, payer));
    this.#add(payer, size);
  }

  /** Takes all that is known of a block away. */
  drop(key: Uint8Array): void {
    this.#forgetOrphan(key);
    for (const { name, value } of this.#range(key)) {
      this.#leases.removeSync(name);
      if (value.length >= fixedBytes) this.#add(payerIn(value), -value.readUInt32BE(8));
    }
  }

  usage(payer: Payer): number {
    const value = this.#usage.get(payer);
    return value === undefined ? 0 : Number(value.readBigUInt64BE());
  }

  /** The largest accounts first, up to `limit`. */
  accounts(limit: number): { payer: Payer; bytes: number }[] {
    return [...this.#usage.getRange({ snapshot: false })]
      .map(({ key, value }) => ({ payer: key, bytes: Number(value.readBigUInt64BE()) }))
      .sort((left, right) => right.bytes - left.bytes)
      .slice(0, limit);
  }

  /** Sums up everything anew, in the caller's transaction; how many accounts were wrong. */
  recount(): number {
    const sums = new Map<Payer, number>();
    for (const db of [this.#leases, this.#orphans])
      for (const { value } of db.getRange({ snapshot: false }))
        if (value.length >= fixedBytes)
          sums.set(payerIn(value), (sums.get(payerIn(value)) ?? 0) + value.readUInt32BE(8));
    let wrong = 0;
    for (const payer of new Set([...sums.keys(), ...this.accounts(Number.POSITIVE_INFINITY).map((one) => one.payer)])) {
      const difference = (sums.get(payer) ?? 0) - this.usage(payer);
      if (difference === 0) continue;
      wrong++;
      this.#add(payer, difference);
    }
    return wrong;
  }

  stats(): { leases: number; orphans: number } {
    return { leases: this.#leases.getKeysCount(), orphans: this.#orphans.getKeysCount() };
  }

  #range(key: Uint8Array, limit?: number): { name: Uint8Array; value: Buffer }[] {
    const end = Buffer.concat([key, Buffer.from([0xff])]);
    const range = { start: key, end, snapshot: false, ...(limit === undefined ? {} : { limit }) };
    return [...this.#leases.getRange(range)].map(({ key: name, value }) => ({
      name: Uint8Array.from(name),
      value: Buffer.from(value),
    }));
  }

  #forgetOrphan(key: Uint8Array): void {
    const orphan = this.#orphans.get(key);
    if (orphan === undefined) return;
    this.#add(payerIn(orphan), -orphan.readUInt32BE(8));
    this.#orphans.removeSync(key);
  }

  #add(payer: Payer, bytes: number): void {
    if (payer === '' || bytes === 0) return;
    const sum = this.usage(payer) + bytes;
    if (sum <= 0) {
      this.#usage.removeSync(payer);
      return;
    }
    const value = Buffer.alloc(8);
    value.writeBigUInt64BE(BigInt(sum));
    this.#usage.putSync(payer, value);
  }
}

function nameOf(key: Uint8Array, identity: Address): Uint8Array {
  return Buffer.concat([key, Buffer.from(identity)]);
}

/** until or since (8), bytes of the block (4), payer. Leases from before quotas are 8 bytes: they count for nobody until they are renewed. */
function leaseValue(time: number, size: number, payer: Payer): Buffer {
  const name = Buffer.from(payer);
  const value = Buffer.alloc(fixedBytes + name.length);
  value.writeBigUInt64BE(BigInt(Math.max(0, Math.floor(time))));
  value.writeUInt32BE(size, 8);
  value.set(name, fixedBytes);
  return value;
}

function payerIn(value: Buffer): Payer {
  return value.length <= fixedBytes ? '' : value.toString('utf8', fixedBytes);
}

function prefers(payer: Payer, to: Payer, identity: Address): boolean {
  return payer === identity && to !== identity;
}
