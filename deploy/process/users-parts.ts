import type { Trust } from '../../node/identity/certificate.ts';
import type { HandOnParts } from '../../node/mail/onward/hand-on.ts';
import { RingNames } from '../../node/mail/ring-names.ts';
import type { SeenIds } from '../../node/notify/seen.ts';
import type { Post } from '../../node/post/post.ts';
import { serviceAddress } from '../home/create.ts';
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

/** Who an address of this node's ring means. */
export function ringNamesOf(post: Pick<Post, 'lookup' | 'overlay'>): RingNames {
  const { name, domains } = post.overlay.ring;
  return new RingNames({
    lookup: async (address) => post.lookup(address),
    domains,
    gateway: serviceAddress('gateway', name),
  });
}

/** What sends for an identity of this node. */
export function sendingParts({
  post,
  names,
  now,
  trace,
  log,
}: Pick<LocalUsersParts, 'post' | 'names' | 'now' | 'trace' | 'log'>): Omit<HandOnParts, 'user' | 'book'> & {
  readonly post: { readonly store: Post['store'] };
} {
  const { store, notify, overlay } = post;
  return {
    post: { store, notify, overlay, lookup: names.resolve.bind(names) },
    gateway: serviceAddress('gateway', overlay.ring.name),
    now,
    trace,
    log,
  };
}
