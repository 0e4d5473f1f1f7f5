import { createHash } from 'node:crypto';
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
  /** What the nodes of one identity brought. */
  readonly bytesPerBringer: number;
  readonly bytes: number;
  readonly receiptsPerRecipient: number;
  readonly receipts: number;
}

export const pendingCaps: PendingCaps = {
  itemsPerRecipient: 10_000,
  bytesPerRecipient: 100 * 2 ** 20,
  // All that a gateway's node may have outstanding (sent-table.ts), so that nobody honest meets it; and one who floods leaves three quarters to the others.
  bytesPerBringer: 2 ** 30,
  bytes: 4 * 2 ** 30,
  // Five times what may wait; a list that gets a mail a minute has 22,000 answers in a fortnight. Together some 1.5 GB.
  receiptsPerRecipient: 50_000,
  receipts: 2_000_000,
};

const noItem = Buffer.alloc(32);
// In front of a row: who brought it. A row from before that was kept begins with 0xa3, its map of three.
const broughtBy = 1;
const headBytes = 17;
// Rows looked at between two breaths of the event loop: about 1 ms.
const pageRows = 500;
export const maxListed = 500;

function keyOf(key: PendingKey): Buffer {
  return Buffer.concat([key.to, key.id, key.item]);
}

function splitKey(key: Buffer): PendingKey {
  return { to: key.subarray(0, 32), id: key.subarray(32, 64), item: key.subarray(64, 96) };
}

function headOf(bringer: string): Buffer {
  const name = createHash('sha256')
    .update(bringer)
    .digest()
    .subarray(0, headBytes - 1);
  return Buffer.concat([Buffer.of(broughtBy), name]);
}

/** Who brought what is in a row; the same name for all of whom it is not known. */
function bringerOf(row: Buffer): string {
  return row[0] === broughtBy ? row.toString('hex', 1, headBytes) : '';
}

/** The item in a row; undefined where the row is damaged, be it only in the bytes that the key names. */
function decodeItem(key: Buffer, row: Uint8Array): PendingItem | undefined {
  try {
    const fields = asFields(row[0] === broughtBy ? row.subarray(headBytes) : row, ['bytes', 'origin', 'at']);
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
  /** Bytes per bringer: owners of member nodes only, and gone with the last item. */
  readonly #brought = new Map<string, number>();
  /** Receipts per recipient key (hex). */
  readonly #answered = new Map<string, number>();
  readonly #writing = new Map<string, Promise<unknown>>();
  readonly #early = new EarlyReceipts();
  #bytes = 0;
  #items = 0;
  #receipts = 0;

  constructor(tables: Tables, caps: PendingCaps = pendingCaps) {
    this.#tables = tables;
    this.#caps = caps;
    for (const { key, value } of tables.pending.getRange()) this.#count(key, 1, value);
    for (const key of tables.receipts.getKeys()) this.#countReceipt(key, 1);
  }

  #count(key: Buffer, items: 1 | -1, row: Buffer): void {
    const bytes = row.length;
    this.#countBrought(bringerOf(row), items * bytes);
    const name = key.toString('hex', 0, 32);
    const share = this.#shares.get(name) ?? { items: 0, bytes: 0 };
    share.items += items;
    share.bytes += items * bytes;
    this.#items += items;
    this.#bytes += items * bytes;
    if (share.items <= 0) this.#shares.delete(name);
    else this.#shares.set(name, share);
  }

  #countBrought(bringer: string, bytes: number): void {
    const sum = (this.#brought.get(bringer) ?? 0) + bytes;
    if (sum <= 0) this.#brought.delete(bringer);
    else this.#brought.set(bringer, sum);
  }

  #countReceipt(key: Buffer, receipts: 1 | -1): void {
    const name = key.toString('hex', 0, 32);
    this.#receipts += receipts;
    const count = (this.#answered.get(name) ?? 0) + receipts;
    if (count <= 0) this.#answered.delete(name);
    else this.#answered.set(name, count);
  }

  /** Keeps the item for the recipient whose certificate the caller has checked; on the account of `bringer`, whose node brought it. */
  async put(
    to: Uint8Array,
    id: Uint8Array,
    item: PendingItem,
    certificate: Uint8Array,
    bringer = '',
  ): Promise<'kept' | 'full'> {
    const key = keyOf({ to, id, item: itemOf(item.bytes) });
    const name = key.toString('hex');
    const writing = this.#writing.get(name);
    if (writing !== undefined || this.#tables.pending.doesExist(key)) {
      await writing;
      return 'kept';
    }
    const value = Buffer.concat([headOf(bringer), encode(item)]);
    if (!this.#hasRoom(Buffer.from(to).toString('hex'), value)) return 'full';
    this.#count(key, 1, value);
    await this.#write(name, key, value, certificate);
    const early = this.#early.find(to, id);
    if (early !== undefined) await this.answer(early.receipt, to, early.at);
    return 'kept';
  }

  #hasRoom(name: string, row: Buffer): boolean {
    const bytes = row.length;
    const share = this.#shares.get(name) ?? { items: 0, bytes: 0 };
    const caps = this.#caps;
    return (
      share.items < caps.itemsPerRecipient &&
      share.bytes + bytes <= caps.bytesPerRecipient &&
      (this.#brought.get(bringerOf(row)) ?? 0) + bytes <= caps.bytesPerBringer &&
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
      this.#count(key, -1, value);
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

  /**
   * Removes what the receipt answers and keeps the receipt for the sender. `signer` is the key that provably signed it. Beyond the caps it is
   * not kept: a sender who was away has the notification brought again then, and the recipient answers it the same.
   */
  async answer(receipt: Receipt, signer: Uint8Array, now: number): Promise<number> {
    // Another copy may be on its way, or written and not yet to be seen: its `put` looks here when it is done.
    this.#early.keep(signer, receipt, now);
    const found: Buffer[] = [];
    const range = prefixRange(Buffer.concat([signer, receipt.id]));
    for (const key of this.#tables.pending.getKeys({ ...range, limit: maxListed })) {
      if (receipt.item === undefined || Buffer.compare(splitKey(key).item, receipt.item) === 0) found.push(key);
    }
    if (found.length === 0) return 0;
    // The receipt first: both are of one commit or of two in this order.
    const writes: Promise<unknown>[] = [this.#keepReceipt(receipt, signer, now)];
    for (const key of found) writes.push(this.#remove(key));
    await Promise.all(writes);
    return found.length;
  }

  async #keepReceipt(receipt: Receipt, signer: Uint8Array, now: number): Promise<void> {
    const key = keyOf({ to: signer, id: receipt.id, item: receipt.item ?? noItem });
    const at = Buffer.alloc(8);
    at.writeBigUInt64BE(BigInt(now));
    const { receipts, receiptsPerRecipient } = this.#caps;
    await this.#tables.receipts.transaction(() => {
      const known = this.#tables.receipts.doesExist(key);
      const share = this.#answered.get(key.toString('hex', 0, 32)) ?? 0;
      if (!known && (share >= receiptsPerRecipient || this.#receipts >= receipts)) return;
      this.#tables.receipts.putSync(key, Buffer.concat([at, receipt.bytes]));
      if (!known) this.#countReceipt(key, 1);
    });
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
      this.#count(key, -1, value);
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
      if (value.length >= 8 && !old(Number(value.readBigUInt64BE(0)))) return;
      if (await this.#tables.receipts.remove(key)) this.#countReceipt(key, -1);
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
    return { items: this.#items, bytes: this.#bytes, receipts: this.#receipts };
  }
}
