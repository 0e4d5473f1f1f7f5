import type { Trust } from '../../node/identity/certificate.ts';
import type { RingNames } from '../../node/mail/ring-names.ts';
import type { SeenIds } from '../../node/notify/seen.ts';
import type { Post } from '../../node/post/post.ts';
import type { Layout } from '../home/layout.ts';
import type { TraceEvent } from '../trace/store.ts';

/** What a node has for the users whose mailboxes live on it. */
export interface LocalUsersOptions {
  readonly layout: Layout;
  readonly passphrase: string | undefined;
  /** Who reports, in notices to users. */
  readonly hostname: string;
  readonly post: Post;
  /** Always the same on this node, and known to nobody else. */
  readonly decoySecret: Uint8Array;
  /** What one identity may have kept in the ring. */
  readonly quotaBytes: number;
  readonly trust: () => Trust;
  readonly seen: SeenIds;
  readonly now: () => number;
  readonly trace: (id: string, event: TraceEvent) => void;
  readonly log: {
    debug(fields: object, message: string): void;
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
}

/** What serving a user needs. */
export interface LocalUsersParts extends LocalUsersOptions {
  readonly names: RingNames;
}
