import type { Address } from '../../../policy/address.ts';
import type { IdentityCertificate, Trust } from '../../identity/certificate.ts';
import type { IdentityKeys } from '../../identity/keys.ts';
import type { Followed } from '../../log/following.ts';
import type { Log as PostLog } from '../../log/log.ts';
import type { Channels } from '../../overlay/channel.ts';
import type { MembershipChange } from '../../overlay/overlay.ts';
import type { Lookup } from '../../store/directory.ts';
import type { Clock, Log, Notify } from '../notify.ts';
import type { Opened } from '../sealed.ts';

/** What another member said, proven to be his, in the order he said it. */
export interface GroupSaying {
  readonly group: string;
  readonly from: Address;
  /** 32 bytes, of this saying alone. */
  readonly id: Uint8Array;
  readonly at: number;
  readonly body: Uint8Array;
}

export interface GroupView {
  /** Hex; names the group among all groups of all owners. */
  readonly id: string;
  readonly owner: Address;
  readonly members: readonly Address[];
}

/** Group notification of one identity (DESIGN §8, after Scribe): what one member says reaches all the others. */
export interface Groups {
  /**
   * Begins a group owned by this identity. Resolves with its id when that is on disk; the members hear of it by notification, those that are
   * away when they come back. Throws NotifyFault `too-large`.
   */
  create(others: readonly Address[]): Promise<string>;
  /** Owner only: these others are its members from now on. Whoever is not among them reads nothing said after each member has heard of it. */
  change(group: string, others: readonly Address[]): Promise<void>;
  /** Takes in a notification that names this identity a member; false for one of another kind. Throws NotifyFault `damaged` or `too-many`. */
  learn(opened: Pick<Opened, 'from' | 'body'>): Promise<boolean>;
  /**
   * Says something to the group. Resolves when it is at the write quorum of the ring, in this identity's own log of the group, and on its way:
   * members that are up hear it at once, the others when they look. Throws NotifyFault `not-a-member` or `too-large`, and the log's faults.
   */
  say(group: string, body: Uint8Array): Promise<void>;
  list(): readonly GroupView[];
  /** Looks for what was missed; also happens by itself. */
  catchUp(): Promise<void>;
  stop(): Promise<void>;
}

export interface GroupsOptions {
  readonly certificate: IdentityCertificate;
  readonly keys: IdentityKeys;
  /** Own folder on disk. */
  readonly dir: string;
  readonly channels: Channels;
  readonly notify: Pick<Notify, 'send'>;
  readonly onMembership: (listener: (change: MembershipChange) => void) => () => void;
  readonly lookup: (address: Address) => Promise<Lookup>;
  /** The own log of that name under that secret, begun where there is none. */
  readonly openLog: (name: string, secret: Uint8Array) => Promise<PostLog>;
  readonly followLog: (writer: Uint8Array, name: string, secret: Uint8Array) => Promise<Followed | undefined>;
  readonly trust: () => Trust;
  readonly now: Clock;
  readonly log: Log;
  /**
   * Takes in what others say: of one member one at a time and in order. Must be idempotent by `id`: a crash between it and the mark on disk brings
   * the same again. What it throws leaves the saying, and what that member said after it, for the next look.
   */
  readonly take: (saying: GroupSaying) => Promise<void>;
}
