import type { Overlay } from '../overlay/overlay.ts';
import { Batcher } from './batcher.ts';
import type { PendingKey } from './pending-table.ts';
import {
  type Carried,
  decodeListed,
  decodePush,
  decodePushAnswers,
  decodePutAnswers,
  decodeStandings,
  encodeKeys,
  encodeList,
  encodePush,
  encodePut,
  encodeReceipts,
  type Listed,
  type ListRequest,
  maxBatchBytes,
  maxBatchItems,
  methods,
  type PushAnswer,
  type Pushed,
  type PutAnswer,
  type Standing,
} from './wire.ts';

// A holder answers after one synced commit; the rest are reads. Ten seconds is a very slow disk or a lost peer.
const timeoutMs = 10_000;

/** The notify floor of the other nodes, item by item; frames are made underneath. Rejects with the overlay's fault. */
export class Peers {
  readonly #overlay: Overlay;
  readonly #stopping = new AbortController();
  readonly #put: Batcher<Carried, PutAnswer>;
  readonly #push: Batcher<Pushed, PushAnswer>;
  readonly #ask: Batcher<PendingKey, Standing>;
  readonly #receipts: Batcher<Uint8Array, boolean>;

  constructor(overlay: Overlay) {
    this.#overlay = overlay;
    const bounds = { maxBytes: maxBatchBytes, maxItems: maxBatchItems };
    this.#put = new Batcher({
      ...bounds,
      bytesOf: (item) => item.bytes.length + item.certificate.length + 160,
      send: async (peerId, items) => decodePutAnswers(await this.#call(peerId, methods.put, encodePut(items))),
    });
    this.#push = new Batcher({
      ...bounds,
      bytesOf: (item) => item.bytes.length + 160,
      send: async (peerId, items) => decodePushAnswers(await this.#call(peerId, methods.push, encodePush(items))),
    });
    this.#ask = new Batcher({
      ...bounds,
      // The answer may be a receipt of up to 1 KiB.
      bytesOf: () => 1100,
      send: async (peerId, keys) => decodeStandings(await this.#call(peerId, methods.ask, encodeKeys(keys))),
    });
    this.#receipts = new Batcher({
      ...bounds,
      bytesOf: (receipt) => receipt.length + 4,
      send: async (peerId, receipts) => {
        await this.#call(peerId, methods.receipts, encodeReceipts(receipts));
        return receipts.map(() => true);
      },
    });
  }

  async #call(peerId: string, method: string, body: Uint8Array): Promise<Uint8Array> {
    return this.#overlay.request(peerId, method, body, { timeoutMs, signal: this.#stopping.signal });
  }

  async put(peerId: string, item: Carried): Promise<PutAnswer> {
    return this.#put.add(peerId, item);
  }

  async push(peerId: string, item: Pushed): Promise<PushAnswer> {
    return this.#push.add(peerId, item);
  }

  async ask(peerId: string, key: PendingKey): Promise<Standing> {
    return this.#ask.add(peerId, key);
  }

  /** Resolves when the other side has taken the receipt in. */
  async sendReceipt(peerId: string, receipt: Uint8Array): Promise<void> {
    await this.#receipts.add(peerId, receipt);
  }

  async list(peerId: string, request: ListRequest): Promise<Listed> {
    return decodeListed(await this.#call(peerId, methods.list, encodeList(request)));
  }

  /** What of these is still there, in no promised order. Ask for few: a frame holds some 15 items. */
  async get(peerId: string, keys: readonly PendingKey[]): Promise<Pushed[]> {
    return decodePush(await this.#call(peerId, methods.get, encodeKeys(keys)));
  }

  /** What is on the way fails now. */
  stop(): void {
    this.#stopping.abort();
  }
}
