import path from 'node:path';
import type { Address } from '../../policy/address.ts';
import type { SigningKey } from '../identity/keys.ts';
import { newestHeadsOf } from '../log/following.ts';
import { ChannelHints } from '../log/hints.ts';
import { type LogStore, openLog, type Log as PostLog } from '../log/log.ts';
import { LogDisk } from '../log/log-disk.ts';
import type { Takes } from '../log/place.ts';
import { type LogReferences, logReferences } from '../log/references.ts';
import type { Log, Notify, Trace } from '../notify/notify.ts';
import { startNotify } from '../notify/start.ts';
import { ConductBook } from '../overlay/conduct.ts';
import type { Overlay } from '../overlay/overlay.ts';
import { type OverlayOptions, startOverlay } from '../overlay/start.ts';
import type { Quota } from '../store/claims.ts';
import type { Patience } from '../store/collection.ts';
import type { Lookup } from '../store/directory.ts';
import { openStore, type Store } from '../store/store.ts';
import { type Presence, type PresenceOptions, present } from './presence.ts';

/** The three services of a node (POST §3): what any application is built on. */
export interface Post {
  readonly overlay: Overlay;
  readonly store: Store;
  readonly notify: Notify;
  /** What other members and writers did that no honest one does. */
  readonly conduct: Pick<ConductBook, 'list'>;
  openLog(options: OpenLogOptions): Promise<PostLog>;
  /** The blocks that a log, as the ring has it now, refers to: what its owner has to keep leased. Undefined where the ring surely has none. */
  logReferences(options: LogName): Promise<LogReferences | undefined>;
  /** The newest heads of a log that the ring has: more than one is a fork. None only where it surely has none. */
  logHeads(options: LogName): Promise<readonly Uint8Array[]>;
  lookup(address: Address): Promise<Lookup>;
  /** Makes an identity present here: the whole API for an application that has one. To be stopped before the node. */
  present(options: PresenceOptions): Promise<Presence>;
  /** Stops what {@link startPost} started, last one first. */
  stop(): Promise<void>;
}

/** Which log, and what opens it. */
export interface LogName {
  readonly signing: SigningKey;
  /** 32 bytes: key of the payloads. */
  readonly secret: Uint8Array;
  readonly name: string;
}

/** What a log needs beside the node's own store, disk, clock and log lines. */
export interface OpenLogOptions extends LogName {
  readonly owner: Address;
  /** Only where the caller knows that there is none yet: a missing head is never silently made anew. */
  readonly create: boolean;
  /** Which records take a number of the log; see node/log. */
  readonly takes?: Takes | undefined;
}

export interface PostOptions extends OverlayOptions {
  /** The node's own folder; each floor has one of its own in it. */
  readonly dir: string;
  readonly log: Log;
  readonly trace?: Trace | undefined;
  readonly quota?: Quota | undefined;
  readonly patience?: Patience | undefined;
}

/**
 * Starts a node: overlay, store, logs, notify. Resolves when it listens and answers, whether or not anyone else is up.
 * When a floor cannot start, those below it are stopped again and its fault is thrown.
 */
export async function startPost(options: PostOptions): Promise<Post> {
  const { dir, now, log, trace, quota, patience } = options;
  const started: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    // One that does not stop cleanly must not keep the others running; what it met is thrown in the end.
    const troubles: unknown[] = [];
    for (const end of started.splice(0).reverse()) await end().catch((error: unknown) => troubles.push(error));
    if (troubles.length > 0) throw new AggregateError(troubles, 'the node did not stop cleanly');
  };
  try {
    const conduct = await ConductBook.open(path.join(dir, 'conduct'), { now, log });
    started.push(async () => conduct.stop());
    const overlay = await startOverlay({ ...options, dir: path.join(dir, 'overlay'), conduct });
    started.push(async () => overlay.stop());
    const toldOfOthers = options.bootstrap.length > 0;
    const limits = { ...(quota && { quota }), ...(patience && { patience }) };
    const store = await openStore({
      overlay,
      dir: path.join(dir, 'store'),
      now,
      log,
      toldOfOthers,
      conduct,
      ...limits,
    });
    started.push(async () => store.stop());
    const disk = await LogDisk.open(path.join(dir, 'logs'));
    started.push(async () => disk.close());
    const notify = await startNotify({ overlay, store, dir: path.join(dir, 'notify'), now, log, trace, conduct });
    started.push(async () => notify.stop());
    // One for each identity that has logs here.
    const hinted = new Map<string, ChannelHints>();
    const floors = {
      overlay,
      conduct,
      store,
      notify,
      openLog: async (how: OpenLogOptions) => {
        const writer = Buffer.from(how.signing.public).toString('hex');
        const hints = hinted.get(writer) ?? new ChannelHints(overlay, how.signing.public);
        hinted.set(writer, hints);
        return openLog({ ...how, store: forLogs(store), disk, hints, now, log });
      },
      logHeads: async ({ signing, secret, name }: LogName) =>
        newestHeadsOf({ store, writer: signing.public, secret, name }),
      logReferences: async ({ signing, secret, name }: LogName) =>
        logReferences({ store, writer: signing.public, secret, name }),
      lookup: async (address: Address) => cautious(await store.lookupIdentity(address), overlay, options.bootstrap),
    };
    return {
      ...floors,
      present: async (who) => present(who, { ...floors, channels: overlay, dir: path.join(dir, 'present'), now, log }),
      stop,
    };
  } catch (error) {
    await stop().catch((fault: unknown) =>
      log.error({ err: fault }, 'a node that could not start did not stop cleanly'),
    );
    throw error;
  }
}

/**
 * A node that was told of others and has never met one knows nobody but itself: what it does not find may well be in the ring. Its "none" would
 * refuse mail for good that the ring's users are waiting for.
 */
function cautious(found: Lookup, overlay: Overlay, bootstrap: readonly string[]): Lookup {
  if (found.kind !== 'none' || bootstrap.length === 0 || overlay.members().length > 1) return found;
  return { kind: 'unknown', reason: 'no other node of the ring was met yet' };
}

/** A user whose quota is used up must still be able to delete: what logs write may use the reserve. */
function forLogs(store: Store): LogStore {
  return {
    insert: async (blocks, lease) => store.insert(blocks, { ...lease, reserve: true }),
    fetch: async (key) => store.fetch(key),
    putHead: async (head) => store.putHead(head),
    getHeads: async (key) => store.getHeads(key),
  };
}
