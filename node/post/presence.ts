import path from 'node:path';
import type { Address } from '../../policy/address.ts';
import type { IdentityCertificate, Trust } from '../identity/certificate.ts';
import { deriveKey } from '../identity/derive.ts';
import type { IdentityKeys, SigningKey } from '../identity/keys.ts';
import { followLog } from '../log/following.ts';
import type { Log as PostLog } from '../log/log.ts';
import { NotifyFault } from '../notify/fault.ts';
import type { GroupSaying, Groups } from '../notify/group/groups.ts';
import { openGroups } from '../notify/group/start.ts';
import { type Handled, type HeldKeys, localRecipient } from '../notify/local-recipient.ts';
import type { Clock, Log, Notify, SendResult } from '../notify/notify.ts';
import { compose, type Opened } from '../notify/sealed.ts';
import { openSeenIds } from '../notify/seen.ts';
import type { Channels } from '../overlay/channel.ts';
import type { Overlay } from '../overlay/overlay.ts';
import { type ContentRef, getContent, putContent } from '../store/content.ts';
import { type Lookup, makeIdentityRecord } from '../store/directory.ts';
import type { Store } from '../store/store.ts';

/** Who is present, and what he does with what comes. */
export interface PresenceOptions {
  readonly certificate: IdentityCertificate;
  readonly keys: IdentityKeys;
  /** Keys of this address that were replaced within the last `memoryMs` of node/notify: what waits for them still comes. */
  readonly retired?: readonly HeldKeys[] | undefined;
  /** Takes in a notification; must be idempotent by `opened.id`. Group epochs do not come here. */
  readonly handle: (opened: Opened) => Promise<Handled>;
  /** Takes in what is said in a group; must be idempotent by `id`. */
  readonly take: (saying: GroupSaying) => Promise<void>;
}

/** The three services for one identity at one node (POST §3): what it stores, writes and says is its own, what comes is proven. */
export interface Presence {
  /** Resolves when it is at the write quorum. Whoever has the reference can read it, and nobody else. */
  put(bytes: Uint8Array): Promise<ContentRef>;
  get(ref: ContentRef): Promise<Uint8Array>;
  /** An own log; with `create` it is begun where the ring surely has none. */
  openLog(name: string, create: boolean): Promise<PostLog>;
  /** Under the same name it is the same notification, however often it is sent. `unknown`: send it again. */
  send(to: Address, name: Uint8Array, body: Uint8Array): Promise<SendResult | { readonly kind: 'no-such-identity' }>;
  readonly groups: Groups;
  /** Leaves; what comes from then on waits in the ring. */
  stop(): Promise<void>;
}

/** The node it is present at. */
interface Host {
  readonly overlay: Overlay;
  readonly store: Store;
  readonly notify: Notify;
  readonly channels: Channels;
  readonly dir: string;
  readonly now: Clock;
  readonly log: Log;
  openLog(how: {
    readonly signing: SigningKey;
    readonly secret: Uint8Array;
    readonly name: string;
    readonly owner: Address;
    readonly create: boolean;
  }): Promise<PostLog>;
  lookup(address: Address): Promise<Lookup>;
}

// DESIGN §6; whoever still needs it refreshes it.
const leaseMs = 28 * 86_400_000;

/** Makes an identity present at a node: its notifications and groups come here, and the ring's directory says so. */
export async function present(options: PresenceOptions, host: Host): Promise<Presence> {
  const { certificate, keys, retired = [], handle, take } = options;
  const { overlay, store, notify, channels, now, log } = host;
  const { address } = certificate;
  // A folder name says nothing of the address, which may hold what a file name may not.
  const home = path.join(host.dir, Buffer.from(certificate.signingKey).toString('hex').slice(0, 32));
  const trust = (): Trust => ({ ring: overlay.ring, revocations: overlay.revocations(), now: now() });
  const from = { certificate, signing: keys.signing };
  const openLog = async (name: string, secret: Uint8Array, create: boolean): Promise<PostLog> =>
    host.openLog({ signing: keys.signing, secret, name, owner: address, create });
  const known = await host.lookup(address);
  // Above what the ring knows and above the clock of every earlier publication, so that the newest home wins.
  const version = Math.max(now(), 1 + ((known.kind === 'found' ? known.record?.version : undefined) ?? 0));
  const record = { address, version, contacts: [overlay.self.peerId], publishedAt: now() };
  await store.publishIdentity({ certificate: certificate.bytes, record: makeIdentityRecord(record, keys.signing) });
  const seen = openSeenIds({ dir: path.join(home, 'seen'), now });
  const groups = openGroups({
    certificate,
    keys,
    dir: path.join(home, 'groups'),
    channels,
    notify,
    onMembership: (listener) => overlay.onMembership(listener),
    lookup: async (member) => host.lookup(member),
    openLog: async (name, secret) => openLog(name, secret, true),
    followLog: async (writer, name, secret) => followLog({ store, writer, secret, name }),
    trust,
    now,
    log,
    take,
  });
  const accept = localRecipient({
    certificate,
    keys,
    retired,
    trust,
    seen,
    now,
    handle: async (opened) => (await learned(groups, opened)) ?? handle(opened),
  });
  const detach = notify.attach({ certificate, retired: retired.map((one) => one.certificate), accept });
  return {
    put: async (bytes) => {
      const salt = deriveKey(keys.export(), 'post/content');
      return putContent(store, bytes, { kind: 'salted', salt }, { identity: address, until: now() + leaseMs });
    },
    get: async (ref) => getContent(store, ref),
    openLog: async (name, create) => openLog(name, deriveKey(keys.export(), 'post/log', Buffer.from(name)), create),
    send: async (to, name, body) => {
      const found = await host.lookup(to);
      if (found.kind === 'unknown') return found;
      if (found.kind !== 'found') return { kind: 'no-such-identity' };
      return notify.send(compose({ from, to: found.certificate, id: name, body, now: now() }));
    },
    groups,
    async stop() {
      detach();
      await groups.stop();
      await seen.stop();
    },
  };
}

/** The answer to a notification about a group; undefined for any other. */
async function learned(groups: Groups, opened: Opened): Promise<Handled | undefined> {
  try {
    return (await groups.learn(opened)) ? { verdict: 'accepted' } : undefined;
  } catch (error) {
    if (error instanceof NotifyFault && error.code !== 'stopped') return { verdict: 'refused', rule: 'group' };
    throw error;
  }
}
