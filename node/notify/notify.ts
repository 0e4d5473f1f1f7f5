import type { Address } from '../../policy/address.ts';
import type { IdentityCertificate } from '../identity/certificate.ts';
import type { Receipt } from './receipt.ts';
import type { PendingRepair } from './repair-report.ts';
import type { Sealed } from './sealed.ts';

export type Clock = () => number;

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface TraceEvent {
  readonly what: string;
  readonly [fact: string]: string | number | boolean | readonly string[] | undefined;
}

/** Takes what happened to the notification with this id (hex). Never content, never secrets. */
export type Trace = (id: string, event: TraceEvent) => void;

/** `unknown`: it may or may not lie with holders; sending the same name again is safe. */
export type SendResult =
  | { readonly kind: 'pending'; readonly copies: number }
  | { readonly kind: 'unknown'; readonly reason: string };

/** Somebody whose notifications arrive at this node. */
export interface Recipient {
  readonly certificate: IdentityCertificate;
  /** Of keys that the same address had before: what waits for those is pulled as well. */
  readonly retired?: readonly IdentityCertificate[] | undefined;
  /** Takes a sealed notification and gives the encoded, signed receipt; undefined = not now, ask again later. */
  readonly accept: (sealed: Uint8Array) => Promise<Uint8Array | undefined>;
}

/** A notification whose receipt is awaited. */
export interface Awaited {
  readonly id: Uint8Array;
  readonly recipient: Address;
}

export interface NotifyStats {
  /** Items held for recipients, and their bytes. */
  readonly pending: number;
  readonly pendingBytes: number;
  /** Receipts kept for senders to fetch. */
  readonly receipts: number;
  /** Sent from here and not answered yet. */
  readonly outstanding: number;
  /** Recipients attached here. */
  readonly attached: number;
}

/** Notifications of a node: sends for its users, keeps for other nodes' users, takes in for the attached (DESIGN §8). */
export interface Notify {
  /**
   * Resolves when the notification is durable at the write quorum of its holders, then pushes it to the recipient's
   * contact nodes in the background. Remembers it on disk until a receipt comes or its lifetime ends.
   */
  send(sealed: Sealed): Promise<SendResult>;
  /** Pulls what waits for this recipient at once, periodically, and whenever a member comes up. Returns the undoing. */
  attach(recipient: Recipient): () => void;
  /** The receipts already here for these; the others, as far as this node sent them, will come to the listeners. */
  watch(awaited: readonly Awaited[]): Promise<readonly Receipt[]>;
  /** Receipts for what this node sent, once each while the node runs; after a restart ask with `watch`. */
  onReceipt(listener: (receipt: Receipt) => void): () => void;
  /** Brings pending items to the members that are closest now; also happens by itself. */
  repair(): Promise<PendingRepair>;
  stats(): NotifyStats;
  stop(): Promise<void>;
}
