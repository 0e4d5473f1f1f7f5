import { equalBytes } from '../identity/canonical.ts';
import type { BlockSource } from '../store/content.ts';
import { checkHead, headKey, newestHeads } from '../store/head.ts';
import type { Store } from '../store/store.ts';
import { LogFault } from './fault.ts';
import { LogKeys } from './head-seal.ts';
import type { LogItem, Takes } from './place.ts';
import { readItems } from './reading.ts';

/** Whose log, and what opens it: the writer gave his reader the secret. */
export interface FollowOptions {
  readonly store: BlockSource & Pick<Store, 'getHeads'>;
  /** The writer's signing key, 32 bytes. */
  readonly writer: Uint8Array;
  readonly secret: Uint8Array;
  readonly name: string;
}

/** Another's log as the ring has it now. */
export interface Followed {
  readonly length: number;
  /** As {@link Log.read}. What takes numbers is the writer's business: they are not right here. */
  read(from: number): AsyncIterable<LogItem>;
}

/** The log as one head of it has it. Throws LogFault `damaged` for what is no head, or not of this log. */
export function readHead(
  store: BlockSource,
  { writer, secret, name }: Omit<FollowOptions, 'store'>,
  bytes: Uint8Array,
  takes: Takes = () => 0,
): Followed {
  const keys = new LogKeys(secret, name);
  const head = checkHead(bytes);
  if (head === undefined || !equalBytes(head.key, headKey(writer, keys.logId)))
    throw new LogFault('damaged', `these octets are no head of the log ${name}`);
  const state = keys.open(head);
  return { length: state.end.seq, read: (from) => readItems(store, state, from, takes) };
}

/**
 * Reads the log of another writer, for whom the heads are checked by signature and key as everywhere. Undefined where the ring surely has none.
 * What it gives may be older than the newest append when too few holders answer; of two heads of one version it takes the first by hash, as the
 * writer's own fresh node does. Throws LogFault `unavailable`, or `damaged` under another secret.
 */
export async function followLog({ store, writer, secret, name }: FollowOptions): Promise<Followed | undefined> {
  const keys = new LogKeys(secret, name);
  const { heads, sure } = await store.getHeads(headKey(writer, keys.logId));
  const [head] = newestHeads(heads.flatMap((bytes) => checkHead(bytes) ?? []));
  if (head === undefined) {
    if (sure) return undefined;
    throw new LogFault('unavailable', `too few holders of the log ${name} answered`);
  }
  const state = keys.open(head);
  return { length: state.end.seq, read: (from) => readItems(store, state, from, () => 0) };
}

/** The newest heads of a log that the ring has, the first by hash first. LogFault `unavailable` where a newer one may have been missed. */
export async function newestHeadsOf({ store, writer, secret, name }: FollowOptions): Promise<readonly Uint8Array[]> {
  const { heads, sure } = await store.getHeads(headKey(writer, new LogKeys(secret, name).logId));
  if (!sure) throw new LogFault('unavailable', `too few holders of the log ${name} answered`);
  return newestHeads(heads.flatMap((bytes) => checkHead(bytes) ?? [])).map(({ bytes }) => bytes);
}
