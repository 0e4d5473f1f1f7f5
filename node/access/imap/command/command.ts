import type { SequenceSet } from '../wire/sequence-set.ts';
import type { FetchItem } from './fetch-items.ts';
import type { SearchProgram } from './search-keys.ts';

/** Which messages a command names, and by which kind of number. */
export interface MessageSet {
  readonly by: 'sequence' | 'uid';
  readonly set: SequenceSet;
}

export type StatusItem = 'MESSAGES' | 'RECENT' | 'UIDNEXT' | 'UIDVALIDITY' | 'UNSEEN' | 'SIZE' | 'DELETED';

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
  | { readonly name: 'select' | 'examine'; readonly mailbox: string }
  | { readonly name: 'create' | 'delete' | 'subscribe' | 'unsubscribe'; readonly mailbox: string }
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
    }
  | { readonly name: 'expunge'; readonly uids: SequenceSet | undefined }
  | { readonly name: 'fetch'; readonly messages: MessageSet; readonly items: readonly FetchItem[] }
  | {
      readonly name: 'store';
      readonly messages: MessageSet;
      readonly mode: 'set' | 'add' | 'remove';
      readonly silent: boolean;
      readonly flags: readonly string[];
    }
  | { readonly name: 'copy' | 'move'; readonly messages: MessageSet; readonly mailbox: string }
  | { readonly name: 'search'; readonly by: 'sequence' | 'uid'; readonly program: SearchProgram };

export type CommandName = Command['name'];
