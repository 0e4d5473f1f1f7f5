import { decode, encode } from '@ipld/dag-cbor';
import { NotifyFault } from './fault.ts';
import { asBytes, asList, asRecord, asText, asTime } from './field.ts';
import { maxReceiptBytes, maxSealedBytes } from './lifetime.ts';
import type { PendingItem, PendingKey } from './pending-table.ts';

/** The requests of the notify floor between nodes. Bodies are DAG-CBOR, bounded by the overlay's frame and checked here. */
export const methods = {
  put: 'notify/put/1',
  push: 'notify/push/1',
  list: 'notify/list/1',
  get: 'notify/get/1',
  ask: 'notify/ask/1',
  receipts: 'notify/receipts/1',
} as const;

/** Below the overlay's frame of 128 KiB, with room for the encoding. */
export const maxBatchBytes = 96 * 1024;
/** Ids of 500 items are 48 KB; of sealed items far fewer fit. */
export const maxBatchItems = 500;
const maxPeerIdLength = 128;
const maxCertificateBytes = 4096;

function read(bytes: Uint8Array): unknown {
  try {
    return decode(bytes);
  } catch (error) {
    throw new NotifyFault('damaged', 'not canonical DAG-CBOR', { cause: error });
  }
}

/** An item on its way to a holder or a recipient, with what the receiver needs to judge it. */
export interface Carried extends PendingItem {
  readonly certificate: Uint8Array;
}

/** Certificates once per frame: a gateway's frame for one busy mailbox has one. */
export function encodePut(items: readonly Carried[]): Uint8Array {
  const certificates: Uint8Array[] = [];
  const numbers = new Map<Uint8Array, number>();
  const rows = items.map((item) => {
    const number = numbers.get(item.certificate) ?? certificates.push(item.certificate) - 1;
    numbers.set(item.certificate, number);
    return [number, item.bytes, item.origin, item.at];
  });
  return encode([certificates, rows]);
}

export function decodePut(bytes: Uint8Array): Carried[] {
  const [certificates, rows] = asList(read(bytes), 2);
  const known = asList(certificates, maxBatchItems).map((value) => asBytes(value, 1, maxCertificateBytes));
  return asList(rows, maxBatchItems).map((row) => {
    const [number, item, origin, at] = asList(row, 4);
    const certificate = known[asTime(number)];
    if (certificate === undefined) throw new NotifyFault('damaged', 'an item without its certificate');
    return {
      certificate,
      bytes: asBytes(item, 1, maxSealedBytes),
      origin: asText(origin, maxPeerIdLength),
      at: asTime(at),
    };
  });
}

/** `answered` brings the recipient's receipt; only `kept` counts as a copy. */
export type PutAnswer =
  | { readonly kind: 'kept' | 'full' | 'busy' | 'refused' }
  | { readonly kind: 'answered'; readonly receipt: Uint8Array };

const putKinds = ['kept', 'full', 'busy', 'refused'] as const;

export function encodePutAnswers(answers: readonly PutAnswer[]): Uint8Array {
  return encode(answers.map((answer) => (answer.kind === 'answered' ? answer.receipt : answer.kind)));
}

export function decodePutAnswers(bytes: Uint8Array): PutAnswer[] {
  return asList(read(bytes), maxBatchItems).map((value): PutAnswer => {
    if (value instanceof Uint8Array) return { kind: 'answered', receipt: asBytes(value, 1, maxReceiptBytes) };
    return { kind: putKinds.find((kind) => kind === value) ?? 'refused' };
  });
}

export interface Pushed {
  readonly bytes: Uint8Array;
  readonly origin: string;
}

export function encodePush(items: readonly Pushed[]): Uint8Array {
  return encode(items.map(({ bytes, origin }) => [bytes, origin]));
}

export function decodePush(bytes: Uint8Array): Pushed[] {
  return asList(read(bytes), maxBatchItems).map((row) => {
    const [item, origin] = asList(row, 2);
    return { bytes: asBytes(item, 1, maxSealedBytes), origin: asText(origin, maxPeerIdLength) };
  });
}

/** `taken`: being worked on, a receipt will follow. `elsewhere`: that recipient is not here. */
export type PushAnswer = 'taken' | 'elsewhere' | 'busy';

export function encodeWords(words: readonly string[]): Uint8Array {
  return encode(words);
}

export function decodePushAnswers(bytes: Uint8Array): PushAnswer[] {
  return asList(read(bytes), maxBatchItems).map((value) =>
    value === 'taken' || value === 'elsewhere' ? value : 'busy',
  );
}

export function encodeKeys(keys: readonly PendingKey[]): Uint8Array {
  return encode(keys.map(({ to, id, item }) => [to, id, item]));
}

export function decodeKeys(bytes: Uint8Array): PendingKey[] {
  return asList(read(bytes), maxBatchItems).map((row) => {
    const [to, id, item] = asList(row, 3);
    return { to: asBytes(to, 32, 32), id: asBytes(id, 32, 32), item: asBytes(item, 32, 32) };
  });
}

export interface ListRequest {
  readonly to: Uint8Array;
  readonly after?: Uint8Array;
}

export function encodeList(request: ListRequest): Uint8Array {
  return encode({ to: request.to, after: request.after ?? null });
}

export function decodeList(bytes: Uint8Array): ListRequest {
  const { to, after } = asRecord(read(bytes), ['to', 'after']);
  return { to: asBytes(to, 32, 32), ...(after === null ? {} : { after: asBytes(after, 96, 96) }) };
}

/** Ids and items of what waits for the recipient asked about; `next` where there is more. */
export interface Listed {
  readonly keys: readonly Omit<PendingKey, 'to'>[];
  readonly next?: Uint8Array;
}

export function encodeListed(listed: Listed): Uint8Array {
  return encode({ keys: listed.keys.map(({ id, item }) => [id, item]), next: listed.next ?? null });
}

export function decodeListed(bytes: Uint8Array): Listed {
  const { keys, next } = asRecord(read(bytes), ['keys', 'next']);
  const rows = asList(keys, maxBatchItems).map((row) => {
    const [id, item] = asList(row, 2);
    return { id: asBytes(id, 32, 32), item: asBytes(item, 32, 32) };
  });
  return { keys: rows, ...(next === null ? {} : { next: asBytes(next, 96, 96) }) };
}

/** What a holder knows of an item: nothing, that it waits, or the receipt. */
export type Standing =
  | { readonly kind: 'absent' | 'pending' }
  | { readonly kind: 'answered'; readonly receipt: Uint8Array };

export function encodeStandings(standings: readonly Standing[]): Uint8Array {
  return encode(standings.map((one) => (one.kind === 'answered' ? one.receipt : one.kind)));
}

export function decodeStandings(bytes: Uint8Array): Standing[] {
  return asList(read(bytes), maxBatchItems).map((value): Standing => {
    if (value instanceof Uint8Array) return { kind: 'answered', receipt: asBytes(value, 1, maxReceiptBytes) };
    return { kind: value === 'pending' ? 'pending' : 'absent' };
  });
}

export function encodeReceipts(receipts: readonly Uint8Array[]): Uint8Array {
  return encode(receipts);
}

export function decodeReceipts(bytes: Uint8Array): Uint8Array[] {
  return asList(read(bytes), maxBatchItems).map((value) => asBytes(value, 1, maxReceiptBytes));
}
