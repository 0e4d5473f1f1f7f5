import { setImmediate as breath } from 'node:timers/promises';
import { encode } from '@ipld/dag-cbor';
import { type Address, parseAddress } from '../../policy/address.ts';
import { NotifyFault } from './fault.ts';
import { asBytes, asFields, asText, asTime } from './field.ts';
import { maxReceiptBytes, maxSealedBytes, memoryMs } from './lifetime.ts';
import { itemOf, type Receipt, readReceipt } from './receipt.ts';
import { decodeOuter, type Sealed } from './sealed.ts';
import { afterPrefix, type Bytes, type Row } from './table.ts';

/** A notification that left here: sealed bytes while nobody answered, the receipt afterwards. */
export interface SentRow {
  readonly recipient: Address;
  readonly to: Uint8Array;
  readonly item: Uint8Array;
  readonly at: number;
  readonly state:
    | { readonly kind: 'outstanding'; readonly bytes: Uint8Array }
    | { readonly kind: 'answered'; readonly receipt: Receipt };
}

/** What the memory keeps of an outstanding row. */
export interface Outstanding {
  readonly id: Uint8Array;
  readonly to: Uint8Array;
  readonly item: Uint8Array;
  readonly at: number;
}

// 1.2 GB at most of sealed bytes on the sender's disk, and some 40 MB of memory: a gateway's two worst weeks.
export const maxOutstanding = 200_000;

const pageRows = 500;

function addressOf(value: unknown): Address {
  const parsed = parseAddress(asText(value, 320));
  if (parsed.kind === 'invalid') throw new NotifyFault('damaged', 'a sent notification without a recipient');
  return parsed.address;
}

// In front of each row, so that a start and a sweep, which walk over all of them, need not open (and prove) what was answered.
const rowHead = { outstanding: 0, answered: 1 } as const;
const rowHeadBytes = 9;

function encodeRow(row: SentRow): Buffer {
  const { recipient, to, item, at, state } = row;
  const answered = state.kind === 'answered' ? state.receipt : undefined;
  const head = Buffer.alloc(rowHeadBytes);
  head.writeUInt8(rowHead[state.kind]);
  head.writeBigUInt64BE(BigInt(at), 1);
  return Buffer.concat([
    head,
    encode({
      recipient,
      to,
      item,
      at,
      bytes: state.kind === 'outstanding' ? state.bytes : null,
      receipt: answered?.bytes ?? null,
      answeredAt: answered?.at ?? null,
    }),
  ]);
}

/** A damaged row is as if it were not there: what is sent again under its name is written anew. */
function decodeRow(id: Uint8Array, value: Uint8Array): SentRow | undefined {
  try {
    return readRow(id, value.subarray(rowHeadBytes));
  } catch (error) {
    if (error instanceof NotifyFault) return undefined;
    throw error;
  }
}

function readRow(id: Uint8Array, value: Uint8Array): SentRow {
  const fields = asFields(value, ['recipient', 'to', 'item', 'at', 'bytes', 'receipt', 'answeredAt']);
  const recipient = addressOf(fields['recipient']);
  const base = {
    recipient,
    to: asBytes(fields['to'], 32, 32),
    item: asBytes(fields['item'], 32, 32),
    at: asTime(fields['at']),
  };
  if (fields['receipt'] === null)
    return { ...base, state: { kind: 'outstanding', bytes: asBytes(fields['bytes'], 1, maxSealedBytes) } };
  const bytes = asBytes(fields['receipt'], 0, maxReceiptBytes);
  const receipt = bytes.length === 0 ? undeliverable(id, recipient, asTime(fields['answeredAt'])) : readOwn(bytes);
  return { ...base, state: { kind: 'answered', receipt } };
}

function readOwn(bytes: Uint8Array): Receipt {
  const read = readReceipt(bytes);
  if (read === undefined) throw new NotifyFault('damaged', 'a kept receipt is damaged');
  return read.receipt;
}

/** What the sender's own node says when nobody answered for the whole lifetime. */
export function undeliverable(id: Uint8Array, by: Address, at: number): Receipt {
  return { id, verdict: 'undeliverable', rule: 'no answer within the lifetime', at, by, bytes: new Uint8Array() };
}

/** What was sent from this node and what became of it, on disk until nobody asks any more. */
export class SentTable {
  readonly #rows: Bytes;
  readonly #outstanding = new Map<string, Outstanding>();

  constructor(rows: Bytes) {
    this.#rows = rows;
    for (const { key, value } of rows.getRange()) {
      if (value[0] !== rowHead.outstanding) continue;
      const row = decodeRow(key, value);
      if (row?.state.kind === 'outstanding') this.#remember(Buffer.from(key), row);
    }
  }

  #remember(id: Uint8Array, row: SentRow): void {
    this.#outstanding.set(Buffer.from(id).toString('hex'), { id, to: row.to, item: row.item, at: row.at });
  }

  find(id: Uint8Array): SentRow | undefined {
    const value = this.#rows.get(Buffer.from(id));
    return value === undefined ? undefined : decodeRow(id, value);
  }

  /** Resolves when the row is on disk. */
  async add(sealed: Sealed, at: number): Promise<SentRow> {
    if (this.#outstanding.size >= maxOutstanding)
      throw new NotifyFault('too-many', `${maxOutstanding} notifications wait for an answer; no more are taken`);
    const { to } = decodeOuter(sealed.bytes);
    const state = { kind: 'outstanding', bytes: sealed.bytes } as const;
    const row: SentRow = { recipient: sealed.recipient, to, item: itemOf(sealed.bytes), at, state };
    this.#remember(sealed.id, row);
    await this.#rows.put(Buffer.from(sealed.id), encodeRow(row));
    return row;
  }

  /** False where it was answered before or never sent from here. */
  async answer(receipt: Receipt): Promise<boolean> {
    if (!this.#outstanding.delete(Buffer.from(receipt.id).toString('hex'))) return false;
    const key = Buffer.from(receipt.id);
    // A transaction stands behind the put of `add` in the line; a plain read might not see that row yet.
    return this.#rows.transaction(() => {
      const value = this.#rows.get(key);
      const row = value === undefined ? undefined : decodeRow(key, value);
      if (row === undefined) return false;
      this.#rows.putSync(key, encodeRow({ ...row, state: { kind: 'answered', receipt } }));
      return true;
    });
  }

  outstanding(id: Uint8Array): Outstanding | undefined {
    return this.#outstanding.get(Buffer.from(id).toString('hex'));
  }

  allOutstanding(): IterableIterator<Outstanding> {
    return this.#outstanding.values();
  }

  get waiting(): number {
    return this.#outstanding.size;
  }

  /** Forgets what was answered and is so old that the same name would be a new notification. */
  async sweep(now: number): Promise<void> {
    let start: Buffer | undefined = Buffer.alloc(0);
    while (start !== undefined) {
      const rows: Row[] = [...this.#rows.getRange({ start, limit: pageRows })];
      const isOld = ({ value }: Row): boolean =>
        value.length < rowHeadBytes ||
        (value[0] === rowHead.answered && Number(value.readBigUInt64BE(1)) < now - 2 * memoryMs);
      await Promise.all(rows.filter(isOld).map(async ({ key }) => this.#rows.remove(key)));
      const last = rows.at(-1);
      start = rows.length < pageRows || last === undefined ? undefined : afterPrefix(last.key);
      await breath();
    }
  }
}
