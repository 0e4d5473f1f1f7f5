import type { Address } from '../../policy/address.ts';
import type { Folder } from './folder.ts';
import type { MessageRef } from './message-ref.ts';
import type { Recovery } from './recovery-report.ts';

/** RFC 6154 §2 attributes of the folders that every mailbox has. INBOX has none. */
export type SpecialUse = '\\Sent' | '\\Drafts' | '\\Junk' | '\\Trash' | '\\Archive';

export interface FolderInfo {
  readonly name: string;
  readonly specialUse?: SpecialUse;
  readonly subscribed: boolean;
  readonly uidValidity: number;
}

export type MailboxChange =
  | { readonly kind: 'created' | 'removed' | 'subscribed' | 'unsubscribed'; readonly name: string }
  | { readonly kind: 'renamed'; readonly name: string; readonly to: string };

/** The answer to a change of the folder list. `reason` is for the user. */
export type FolderAnswer =
  | { readonly kind: 'done' }
  | {
      readonly kind: 'refused';
      readonly code: 'exists' | 'missing' | 'bad-name' | 'not-allowed' | 'too-many' | 'use-taken';
      readonly reason: string;
    };

/** A user's mail folders. Names are Unicode, `/` between levels, INBOX in any case. */
export interface Mailbox {
  readonly address: Address;
  /** INBOX first, then by name. */
  folders(): readonly FolderInfo[];
  /** Names on the subscription list, those of folders that have gone included (RFC 3501 §6.3.9). */
  subscriptions(): readonly string[];
  /** The folder, its index loaded; undefined where there is none of that name. The same object for every caller. */
  folder(name: string): Promise<Folder | undefined>;
  /** Creates missing superior names too (RFC 3501 §6.3.3). With `use`, for a special use that no other folder has (RFC 6154 §3). */
  create(name: string, use?: SpecialUse): Promise<FolderAnswer>;
  /** Inferior names stay (RFC 3501 §6.3.4). INBOX cannot be removed. */
  remove(name: string): Promise<FolderAnswer>;
  /** Inferior names go along; renaming INBOX moves its messages and leaves it empty (RFC 3501 §6.3.5). */
  rename(from: string, to: string): Promise<FolderAnswer>;
  subscribe(name: string, on: boolean): Promise<FolderAnswer>;
  /** The message that a reference names, in no folder yet. Throws MailFault like fetchMessage: nothing stands in for it. */
  read(ref: MessageRef): Promise<Uint8Array>;
  /** Has the blocks of a message kept in this mailbox's name; what cannot be done now is done by the daily renewal. Never throws. */
  keep(ref: MessageRef): Promise<void>;
  /** When the heads of all folders were kept, the newest first: every six hours, for seven days. */
  backups(): Promise<readonly number[]>;
  /** Keeps them as they are now; when that was. */
  keepHeads(): Promise<number>;
  /** Makes the folders what they were at the last backup before `to`; nothing is rolled back or lost. With `dryRun` it only says what would change. */
  recover(to: number, options: { readonly dryRun: boolean }): Promise<Recovery>;
  onChange(listener: (change: MailboxChange) => void): () => void;
  /** Waits for what is under way and keeps the index for the next start. */
  close(): Promise<void>;
}
