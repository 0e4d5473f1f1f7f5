import type { Address } from '../../policy/address.ts';
import type { IdentityCertificate } from '../identity/certificate.ts';
import type { IdentityKeys } from '../identity/keys.ts';
import type { Log as PostLog } from '../log/log.ts';
import type { LogReferences } from '../log/references.ts';
import type { LogName, OpenLogOptions } from '../post/post.ts';
import type { BlockSink, BlockSource } from '../store/content.ts';
import type { Store } from '../store/store.ts';

export type Clock = () => number;

/** Where events go; pino's shape. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What a mailbox needs of a POST node. */
export interface MailPost {
  readonly store: BlockSink & BlockSource & Pick<Store, 'renew' | 'putRound'>;
  openLog(options: OpenLogOptions): Promise<PostLog>;
  /** The newest heads of a log that the ring has. */
  logHeads(options: LogName): Promise<readonly Uint8Array[]>;
  /** What a log, as the ring has it, still needs of the store. */
  logReferences(options: LogName): Promise<LogReferences | undefined>;
}

/** Somebody whose mail lives on this node. */
export interface MailUser {
  readonly address: Address;
  readonly certificate: IdentityCertificate;
  readonly keys: IdentityKeys;
  /** Those that the mailbox was made with, where the user has others by now: its logs have one writer for ever. */
  readonly mailboxKeys?: IdentityKeys | undefined;
}

/** The keys of a user's mailbox. */
export function mailboxKeys({ keys, mailboxKeys: first = keys }: MailUser): IdentityKeys {
  return first;
}

/** DESIGN §6: how long blocks are kept without being asked for again. */
export const leaseMs = 28 * 86_400_000;
