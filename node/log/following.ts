import type { BlockSource } from '../store/content.ts';
import { checkHead, headKey, newestHeads } from '../store/head.ts';
import type { Store } from '../store/store.ts';
import { LogFault } from './fault.ts';
import { LogKeys } from './head-seal.ts';
import type { LogItem } from './place.ts';
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
