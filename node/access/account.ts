import type { Address, Domain } from '../../policy/address.ts';
import type { Mailbox } from '../mail/mailbox.ts';
import type { Ownership } from '../mail/ring-names.ts';
import type { Submission } from '../mail/send.ts';
import type { Lookup } from '../store/directory.ts';
import type { ScramKeys } from './scram.ts';

/** RFC 3461: what a sender asked to be told about one recipient. */
export interface RecipientNotify {
  readonly notify: readonly string[];
  readonly orcpt?: string | undefined;
}

/** The envelope of a submitted message, with the DSN parameters as given (RFC 3461 §4). */
export interface SubmittedEnvelope {
  readonly from: string;
  readonly to: readonly string[];
  readonly ret?: 'FULL' | 'HDRS' | undefined;
  readonly envid?: string | undefined;
  /** To no mail server that cannot be authenticated and does not promise the same (RFC 8689). */
  readonly requireTls?: true | undefined;
  /** By recipient as written in `to`. */
  readonly dsn?: ReadonlyMap<string, RecipientNotify> | undefined;
}

/** A user of this node who has shown his password. */
export interface Account {
  readonly address: Address;
  readonly mailbox: Mailbox;
  readonly ringDomains: readonly Domain[];
  /** Resolves when every recipient that was `sent` is safe at the ring. The same submission again doubles nothing. */
  submit(envelope: SubmittedEnvelope, bytes: Uint8Array, trace: string): Promise<Submission>;
  /** Who an address of the ring means; of an alias, the identity it leads to. */
  lookup(address: Address): Promise<Lookup>;
  /** What the user's blocks take and may take in the ring; undefined where nobody counts (RFC 9208). */
  quota?(): Promise<{ readonly usedBytes: number; readonly limitBytes: number } | undefined>;
  /** Whether the user may write in the name of that address: his own, with or without a tag, or an alias that leads to him. */
  ownership(address: string): Promise<Ownership>;
  /** Why sessions that are open have to end, if they have to: his certificate does not hold any more, his mailbox has moved. For him to read. */
  over?(): string | undefined;
}

export type Login =
  | { readonly kind: 'account'; readonly account: Account }
  | { readonly kind: 'refused' }
  /** The password is right, and the user may not come in: his certificate has expired, say. `reason` is for him. */
  | { readonly kind: 'barred'; readonly reason: string }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Who may log in. Implementations compare in constant time and need as long for a name they do not know. */
export interface Accounts {
  login(username: string, password: string, from: { readonly ip: string }): Promise<Login>;
  /** Where it is, SCRAM is announced. */
  readonly scram?: ScramAccounts;
}

/** Log-ins that prove a password without sending it (RFC 5802). */
export interface ScramAccounts {
  /** For a name that nobody has, made up, and always the same: the answer does not tell who exists. */
  keys(username: string): Promise<ScramKeys>;
  /** The user, who has proved that he knows his password. */
  admit(username: string): Promise<Login>;
}
