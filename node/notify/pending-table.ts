import { setImmediate as breath } from 'node:timers/promises';
import { encode } from '@ipld/dag-cbor';
import { EarlyReceipts } from './early-receipts.ts';
import { NotifyFault } from './fault.ts';
import { asBytes, asFields, asText, asTime } from './field.ts';
import { maxSealedBytes, memoryMs } from './lifetime.ts';
import { answers, itemOf, type Receipt } from './receipt.ts';
import { afterPrefix, prefixRange, type Row, type Tables } from './table.ts';

/** Which recipient's (signing key), which notification, which bytes. */
export interface PendingKey {
  readonly to: Uint8Array;
  readonly id: Uint8Array;
  readonly item: Uint8Array;
}

export interface PendingItem {
  readonly bytes: Uint8Array;
  /** Peer id of the node that sent it, so far as we were told: where the receipt is welcome. */
  readonly origin: string;
  /** When the first holder took it. */
  readonly at: number;
}

/** Fair shares of a holder's disk: a fortnight of a busy mailbox, and what a small machine can spare for all. */
export interface PendingCaps {
  readonly itemsPerRecipient: number;
  readonly bytesPerRecipient: number;
  readonly bytes: number;
}

export const pendingCaps: PendingCaps = {
  itemsPerRecipient: 10_000,
  bytesPerRecipient: 100 * 2 ** 20,
  bytes: 4 * 2 ** 30,
};

const noItem = Buffer.alloc(32);
// Rows looked at between two breaths of the event loop: about 1 ms.
const pageRows = 500;
export const maxListed = 500;

function keyOf(key: PendingKey): Buffer {
  return Buffer.concat([key.to, key.id, key.item]);
}

function splitKey(key: Buffer): PendingKey {
  return { to: key.subarray(0, 32), id: key.subarray(32, 64), item: key.subarray(64, 96) };
}

/** The item in a row; undefined where the row is damaged, be it only in the bytes that the key names. */
function decodeItem(key: Buffer, row: Uint8Array): PendingItem | undefined {
  try {
    const fields = asFields(row, ['bytes', 'origin', 'at']);
    const bytes = asBytes(fields['bytes'], 1, maxSealedBytes);
    if (Buffer.compare(itemOf(bytes), splitKey(key).item) !== 0) return undefined;
    return { bytes, origin: asText(fields['origin'], 128), at: asTime(fields['at']) };
  } catch (error) {
    if (error instanceof NotifyFault) return undefined;
    throw error;
  }
}

/**
 * What this node keeps for recipients until they answer, and their answers afterwards. A resolved promise means synced to
 * disk. Only a receipt that the recipient signed, or age, removes an item.
 */
export class PendingTable {
  readonly #tables: Tables;
  readonly #caps: PendingCaps;
  /** Per recipient key (hex); certified identities only, and gone with the last item. */
  readonly #shares = new Map<string, { items: number; bytes: number }>();
  readonly #writing = new Map<string, Promise<unknown>>();
  readonly #early = new EarlyReceipts();
  #bytes = 0;
  #items = 0;

  constructor(tables: Tables, caps: PendingCaps = pendingCaps) {
    this.#tables = tables;
    this.#caps = caps;
    for (const { key, value } of tables.pending.getRange()) this.#count(key, 1, value.length);
  }

  #count(key: Buffer, items: 1 | -1, bytes: number): void {
    const name = key.toString('hex', 0, 32);
    const share = this.#shares.get(name) ?? { items: 0, bytes: 0 };
    share.items += items;
    share.bytes += items * bytes;
    this.#items += items;
    this.#bytes += items * bytes;
    if (share.items <= 0) this.#shares.delete(name);
    else this.#shares.set(name, share);
  }

  /** Keeps the item for the recipient whose certificate the caller has checked. */
  async put(to: Uint8Array, id: Uint8Array, item: PendingItem, certificate: Uint8Array): Promise<'kept' | 'full'> {
    const key = keyOf({ to, id, item: itemOf(item.bytes) });
    const name = key.toString('hex');
    const writing = this.#writing.get(name);
    if (writing !== undefined || this.#tables.pending.doesExist(key)) {
      await writing;
      return 'kept';
    }
    const value = Buffer.from(encode(item));
    if (!this.#hasRoom(Buffer.from(to).toString('hex'), value.length)) return 'full';
    this.#count(key, 1, value.length);
    await this.#write(name, key, value, certificate);
    const early = this.#early.find(to, id);
    if (early !== undefined) await this.answer(early.receipt, to, early.at);
    return 'kept';
  }

  #hasRoom(name: string, bytes: number): boolean {
    const share = this.#shares.get(name) ?? { items: 0, bytes: 0 };
    const caps = this.#caps;
    return (
      share.items < caps.itemsPerRecipient &&
      share.bytes + bytes <= caps.bytesPerRecipient &&
      this.#bytes + bytes <= caps.bytes
    );
  }

  async #write(name: string, key: Buffer, value: Buffer, certificate: Uint8Array): Promise<void> {
    const to = key.subarray(0, 32);
    const known = this.#tables.certificates.get(to);
    const writes: Promise<unknown>[] = [this.#tables.pending.put(key, value)];
    if (known === undefined || !known.equals(certificate))
      writes.push(this.#tables.certificates.put(to, Buffer.from(certificate)));
    const written = Promise.all(writes);
    this.#writing.set(name, written);
    try {
      await written;
    } catch (error) {
      this.#count(key, -1, value.length);
      throw error;
    } finally {
      this.#writing.delete(name);
    }
  }

  /** Up to 500 keys of what waits for a recipient, in key order, after `after`. */
  list(to: Uint8Array, after?: Uint8Array): { keys: PendingKey[]; next?: Uint8Array } {
    const range = prefixRange(to);
    const start = after === undefined ? range.start : Buffer.concat([after, Buffer.alloc(1)]);
    const keys = [...this.#tables.pending.getKeys({ ...range, start, limit: maxListed })];
    const last = keys.at(-1);
    return { keys: keys.map(splitKey), ...(keys.length === maxListed && last !== undefined ? { next: last } : {}) };
  }

  /** A damaged one is none: the next sweep removes it, and repair brings a good copy again. */
  get(key: PendingKey): PendingItem | undefined {
    const name = keyOf(key);
    const value = this.#tables.pending.get(name);
    return value === undefined ? undefined : decodeItem(name, value);
  }

  has(key: PendingKey): boolean {
    return this.#tables.pending.doesExist(keyOf(key));
  }

  /** Signing keys of the recipients for whom something waits here. */
  recipients(): Uint8Array[] {
    return [...this.#shares.keys()].map((name) => Buffer.from(name, 'hex'));
  }

  certificateOf(to: Uint8Array): Uint8Array | undefined {
    return this.#tables.certificates.get(Buffer.from(to));
  }

  receiptFor(key: PendingKey): Uint8Array | undefined {
    const whole = this.#tables.receipts.get(keyOf({ ...key, item: noItem }));
    const kept = (whole ?? this.#tables.receipts.get(keyOf(key)))?.subarray(8);
    if (kept !== undefined) return kept;
    const early = this.#early.find(key.to, key.id)?.receipt;
    return early !== undefined && answers(early, key.id, key.item) ? early.bytes : undefined;
  }

  /** Removes what the receipt answers and keeps the receipt for the sender. `signer` is the key that provably signed it. */
  async answer(receipt: Receipt, signer: Uint8Array, now: number): Promise<number> {
    // Another copy may be on its way, or written and not yet to be seen: its `put` looks here when it is done.
    this.#early.keep(signer, receipt, now);
    const found: Buffer[] = [];
    const range = prefixRange(Buffer.concat([signer, receipt.id]));
    for (const key of this.#tables.pending.getKeys({ ...range, limit: maxListed })) {
      if (receipt.item === undefined || Buffer.compare(splitKey(key).item, receipt.item) === 0) found.push(key);
    }
    if (found.length === 0) return 0;
    const at = Buffer.alloc(8);
    at.writeBigUInt64BE(BigInt(now));
    const kept = keyOf({ to: signer, id: receipt.id, item: receipt.item ?? noItem });
    // The receipt first: both are of one commit or of two in this order.
    const writes: Promise<unknown>[] = [this.#tables.receipts.put(kept, Buffer.concat([at, receipt.bytes]))];
    for (const key of found) writes.push(this.#remove(key));
    await Promise.all(writes);
    return found.length;
  }

  /** Only for what provably lies at all its proper holders, or is too old. */
  async drop(key: PendingKey): Promise<void> {
    await this.#remove(keyOf(key));
  }

  async #remove(key: Buffer): Promise<void> {
    // In one transaction, so that two removals of one item count it once.
    await this.#tables.pending.transaction(() => {
      const value = this.#tables.pending.get(key);
      if (value === undefined) return;
      this.#tables.pending.removeSync(key);
      this.#count(key, -1, value.length);
    });
  }

  /** Drops items and receipts past the time that anybody may still ask for them, and items that are damaged: they are no copies. */
  async sweep(now: number): Promise<void> {
    const old = (at: number): boolean => at < now - memoryMs;
    await this.#walk('pending', async (key, value) => {
      const item = decodeItem(key, value);
      if (item === undefined || old(item.at)) await this.#remove(key);
    });
    await this.#walk('receipts', async (key, value) => {
      if (value.length < 8 || old(Number(value.readBigUInt64BE(0)))) await this.#tables.receipts.remove(key);
    });
  }

  async #walk(table: 'pending' | 'receipts', visit: (key: Buffer, value: Buffer) => Promise<void>): Promise<void> {
    let start: Buffer | undefined = Buffer.alloc(0);
    while (start !== undefined) {
      const rows: Row[] = [...this.#tables[table].getRange({ start, limit: pageRows })];
      await Promise.all(rows.map(async ({ key, value }) => visit(Buffer.from(key), Buffer.from(value))));
      const last = rows.at(-1);
      start = rows.length < pageRows || last === undefined ? undefined : afterPrefix(last.key);
      await breath();
    }
  }

  stats(): { items: number; bytes: number; receipts: number } {
    return { items: this.#items, bytes: this.#bytes, receipts: this.#tables.receipts.getCount() };
  }
}
