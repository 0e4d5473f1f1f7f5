import type { MessageRef } from './message-ref.ts';
import type { Found } from './message-texts.ts';
import type { TextColumn, Texts, Wanted } from './text-columns.ts';

/** What the index knows of one message. Never changes: a change of flags makes a new entry. */
export interface MessageEntry {
  readonly uid: number;
  /** System flags with their backslash, then keywords; never \Recent. */
  readonly flags: readonly string[];
  /** IMAP INTERNALDATE, ms since the epoch. */
  readonly internalDate: number;
  /** Octets of the message. */
  readonly size: number;
  readonly ref: MessageRef;
  readonly modseq: number;
  /** RFC 8474 EMAILID: the same for every copy of the same bytes. */
  readonly emailId: string;
  /** What {@link emailId} spells out: 16 octets, in latin1. */
  readonly contentKey: string;
}

export type FolderChange = {
  readonly kind: 'inserted' | 'expunged' | 'flags';
  /** Ascending. */
  readonly uids: readonly number[];
};

/** A change of flags whose writing has begun and is not waited for. */
export interface EarlyChange {
  /** What the entries become, ascending; their modseq stays the old one until it is written. */
  readonly entries: readonly MessageEntry[];
  /** Rejects when it could not be written: then it is not made. */
  readonly written: Promise<unknown>;
}

/** A delivery: what the recipient's node knows of a message that a notification named. */
export interface Delivery {
  /** The notification's id: a second delivery under it inserts nothing. */
  readonly id: Uint8Array;
  readonly ref: MessageRef;
  readonly internalDate: number;
  readonly flags?: readonly string[];
  /** Kept with the insertion in the log (not in the index): envelope sender, trace id, the gateway's provenance. */
  readonly envelopeFrom: string;
  readonly trace: string;
  readonly provenance?: Uint8Array | undefined;
}

/**
 * One mail folder. Every change is in the ring (own disk and write quorum) before its promise resolves, but for {@link setFlagsEarly}; changes made at
 * once share heads.
 * Throws MailFault: `unavailable` (nothing was changed), `folder-gone`, `bad-flag`.
 */
export interface Folder {
  /** The name it has now (it may be renamed under an open session). */
  readonly name: string;
  readonly uidValidity: number;
  readonly uidNext: number;
  /** RFC 7162: at least that of every entry; 1 or more. */
  readonly highestModseq: number;
  /**
   * RFC 7162 §3.2.5: the uids that went after that modseq, ascending and joined. Undefined when it is not remembered so far back; then any uid
   * that is not there may have gone since.
   */
  expungedSince(modseq: number): readonly { readonly from: number; readonly to: number }[] | undefined;
  /** Messages without \Seen. */
  readonly unseen: number;
  /** Ascending by uid. The array given never changes; the next change gives another. */
  entries(): readonly MessageEntry[];
  entry(uid: number): MessageEntry | undefined;
  /** The different lists of flags that its messages have; messages with the same flags share the very list. */
  flagLists(): readonly (readonly string[])[];
  /** Keywords in use in this folder, as first written. At most 64 can be in use. */
  keywords(): readonly string[];
  append(
    bytes: Uint8Array,
    options: { readonly flags: readonly string[]; readonly internalDate: number },
  ): Promise<{ uid: number }>;
  /** A message made on this node about the event `id` (32 octets): inserted once, as a delivery is. */
  appendOnce(
    bytes: Uint8Array,
    options: { readonly id: Uint8Array; readonly flags?: readonly string[]; readonly internalDate: number },
  ): Promise<void>;
  /** Idempotent by the notification's id, over restarts and rebuilds too; `uid` is undefined when the known one has gone since. */
  insertRef(delivery: Delivery): Promise<{ readonly kind: 'inserted' | 'known'; readonly uid: number | undefined }>;
  /** The uid of what came in under this id, if it is still there and not forgotten (30 days). */
  delivered(id: Uint8Array): number | undefined;
  /** Gives the entries of all `uids` that exist, changed or not, ascending. */
  setFlags(
    uids: readonly number[],
    mode: 'set' | 'add' | 'remove',
    flags: readonly string[],
  ): Promise<readonly MessageEntry[]>;
  /**
   * The same for those whose modseq is not above `unchangedSince`, all at one point of the folder's history (RFC 7162 §3.1.3). `modified`: the
   * uids of those left alone, ascending.
   */
  setFlagsIfUnchanged(
    uids: readonly number[],
    mode: 'set' | 'add' | 'remove',
    flags: readonly string[],
    unchangedSince: number,
  ): Promise<{ readonly entries: readonly MessageEntry[]; readonly modified: readonly number[] }>;
  /**
   * The same as {@link setFlags} without a wait for the disk, where it need not be waited for (early-flags.ts); undefined where it must. Written in its turn
   * with all other changes, and told by {@link onChange} when it is. `entries` and the counts show it then and not before: whoever must not miss it waits
   * for {@link settled}; who gets the folder from its mailbox has waited. Not for who is told modseqs.
   */
  setFlagsEarly(
    uids: readonly number[],
    mode: 'set' | 'add' | 'remove',
    flags: readonly string[],
    maxDelayMs: number,
  ): EarlyChange | undefined;
  /** Changes by {@link setFlagsEarly} that are not written yet. */
  readonly unwritten: number;
  /** Resolves when those of now are written, or have failed. */
  settled(): Promise<void>;
  /** Removes exactly these messages, whatever their flags; gives the uids that were there. */
  expunge(uids: readonly number[]): Promise<readonly number[]>;
  /** The copies share the blocks. `from[i]` became `to[i]`; uids that are not there are left out. */
  copyTo(
    target: Folder,
    uids: readonly number[],
  ): Promise<{ readonly from: readonly number[]; readonly to: readonly number[] }>;
  /** Copies first, so that a crash between leaves both and never none. */
  moveTo(
    target: Folder,
    uids: readonly number[],
  ): Promise<{ readonly from: readonly number[]; readonly to: readonly number[] }>;
  /**
   * The message, byte for byte. Where blocks are gone for good, a message that says so instead (DESIGN §9).
   * Throws MailFault `unavailable` when they may come back, `no-such-message` for an unknown uid.
   */
  bytes(uid: number): Promise<Uint8Array>;
  /** The same where it can be had without a wait, for who reads many; undefined says nothing: {@link bytes} does. */
  bytesAtHand(uid: number): Uint8Array | undefined;
  /** Brings in what other nodes of the user have written; it comes by itself within seconds as a rule. Never rejects. */
  refresh(): Promise<void>;
  /**
   * What {@link keepSummary} was given for these octets, if it is still there: a local cache that a reader may fill with what spares him reading
   * the message again.
   */
  summary(uid: number): Buffer | undefined;
  keepSummary(uid: number, summary: Uint8Array): void;
  /** The same for what searches look at: whether it is there, and of which messages it matches, without a look at each. */
  hasTexts(uid: number): boolean;
  keepTexts(uid: number, texts: Texts): void;
  findTexts(column: TextColumn, wanted: Wanted): Promise<Found>;
  /** Called after the change is durable, in order. Returns how to stop it. */
  onChange(listener: (change: FolderChange) => void): () => void;
}
