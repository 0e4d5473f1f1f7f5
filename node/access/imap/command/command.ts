import type { MessageSet, SequenceSet } from '../wire/sequence-set.ts';
import type { FetchItem } from './fetch-items.ts';
import type { SearchProgram } from './search-keys.ts';

export const statusItems = [
  'MESSAGES',
  'RECENT',
  'UIDNEXT',
  'UIDVALIDITY',
  'UNSEEN',
  'SIZE',
  'DELETED',
  'DELETED-STORAGE',
  'HIGHESTMODSEQ',
  'MAILBOXID',
] as const;
export type StatusItem = (typeof statusItems)[number];

/** RFC 7162 §3.2.5: what a client knew of the folder when it last looked. */
export interface Resync {
  readonly uidValidity: number;
  readonly modseq: number;
  readonly knownUids: SequenceSet | undefined;
}

/** RFC 4731 §3.1, RFC 5182 §2.1. */
export const searchReturns = ['MIN', 'MAX', 'ALL', 'COUNT', 'SAVE'] as const;
export type SearchReturn = (typeof searchReturns)[number];

export interface ListCommand {
  readonly name: 'list';
  /** Written in the form of RFC 5258, so that the client knows its attributes. */
  readonly extended: boolean;
  /** RFC 5258 §3.1: only subscribed names, also such as no longer exist; only folders with a special use (RFC 6154 §3). */
  readonly select: { readonly subscribed: boolean; readonly specialUse: boolean; readonly recursive: boolean };
  readonly reference: string;
  readonly patterns: readonly string[];
  readonly give: { readonly subscribed: boolean; readonly specialUse: boolean; readonly status: readonly StatusItem[] };
}

/** A command, understood. Mailbox names are decoded; text is Unicode; octets stay octets. */
export type Command =
  | { readonly name: 'capability' | 'noop' | 'check' }
  | { readonly name: 'logout' }
  | { readonly name: 'starttls' }
  | { readonly name: 'idle' }
  | { readonly name: 'namespace' }
  | { readonly name: 'close' | 'unselect' }
  | { readonly name: 'id'; readonly fields: readonly (readonly [string, string | undefined])[] }
  | { readonly name: 'enable'; readonly capabilities: readonly string[] }
  | { readonly name: 'login'; readonly username: string; readonly password: string }
  | { readonly name: 'authenticate'; readonly mechanism: string; readonly initial: string | undefined }
  | {
      readonly name: 'select' | 'examine';
      readonly mailbox: string;
      readonly condstore: boolean;
      readonly resync: Resync | undefined;
    }
  /** `use`: as asked for (RFC 6154 §3); whether we know it is the mailbox's affair. */
  | { readonly name: 'create'; readonly mailbox: string; readonly use: string | undefined }
  | { readonly name: 'delete' | 'subscribe' | 'unsubscribe'; readonly mailbox: string }
  | { readonly name: 'getquota'; readonly root: string }
  | { readonly name: 'getquotaroot'; readonly mailbox: string }
  | { readonly name: 'rename'; readonly from: string; readonly to: string }
  | ListCommand
  | { readonly name: 'lsub'; readonly reference: string; readonly pattern: string }
  | { readonly name: 'status'; readonly mailbox: string; readonly items: readonly StatusItem[] }
  | {
      readonly name: 'append';
      readonly mailbox: string;
      readonly flags: readonly string[];
      readonly internalDate: number | undefined;
      readonly message: Buffer;
      /** Written as UTF8 (~{…}) (RFC 6855 §4): only for who enabled it. */
      readonly utf8: boolean;
    }
  | { readonly name: 'expunge'; readonly uids: MessageSet | undefined }
  | {
      readonly name: 'fetch';
      readonly messages: MessageSet;
      readonly items: readonly FetchItem[];
      readonly changedSince: number | undefined;
      /** RFC 7162 §3.2.6. */
      readonly vanished: boolean;
    }
  | {
      readonly name: 'store';
      readonly messages: MessageSet;
      readonly mode: 'set' | 'add' | 'remove';
      readonly silent: boolean;
      readonly flags: readonly string[];
      readonly unchangedSince: number | undefined;
    }
  | { readonly name: 'copy' | 'move'; readonly messages: MessageSet; readonly mailbox: string }
  | {
      readonly name: 'search';
      readonly by: 'sequence' | 'uid';
      /** undefined: asked without RETURN. */
      readonly returns: ReadonlySet<SearchReturn> | undefined;
      readonly program: SearchProgram;
    };

export type CommandName = Command['name'];
