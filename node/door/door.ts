import type { Address } from '../../policy/address.ts';
import type { Trust } from '../identity/certificate.ts';
import type { RingDescriptor } from '../identity/ring.ts';
import type { Awaited, Recipient, SendResult } from '../notify/notify.ts';
import type { Receipt } from '../notify/receipt.ts';
import type { Sealed } from '../notify/sealed.ts';
import type { BlockSink, BlockSource } from '../store/content.ts';
import type { Lookup } from '../store/directory.ts';

/**
 * What a gateway or a command may ask of a node. Over a socket or in process, with the same promises. While the node is
 * away every call throws DoorFault `node-away` (lookup answers `unknown`); attachments and watches outlive that.
 */
export interface Door extends BlockSink, BlockSource {
  lookup(address: Address): Promise<Lookup>;
  notify(sealed: Sealed): Promise<SendResult>;
  /** Has the node pull and take in what is for this recipient. The keys stay on this side. Returns the undoing. */
  attach(recipient: Recipient): () => void;
  /** Has receipts for these come to the listeners, those that are already there included. */
  watch(awaited: readonly Awaited[]): Promise<void>;
  /** Receipts for what was sent or is watched through this door. The same one may come again. */
  onReceipt(listener: (receipt: Receipt) => void): () => void;
  /** A method that the node's program added, with DAG-CBOR values. Throws DoorFault `no-such-method` or `failed`. */
  call(method: string, args: unknown): Promise<unknown>;
  ring(): Promise<RingDescriptor>;
  trust(): Promise<Trust>;
  connected(): boolean;
  close(): Promise<void>;
}

/** Methods that the node's program offers through the door beside the Post's. */
export type Admin = Readonly<Record<string, (args: unknown) => Promise<unknown>>>;
