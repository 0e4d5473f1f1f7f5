import { type BlockSource, getContent, keysOf } from '../store/content.ts';
import { checkHead, headKey } from '../store/head.ts';
import type { Store } from '../store/store.ts';
import { LogFault } from './fault.ts';
import { LogKeys } from './head-seal.ts';
import { decodeNode, type Entry, type LogState } from './log-state.ts';

export interface ReferencesOptions {
  readonly store: BlockSource & Pick<Store, 'getHeads'>;
  /** The writer's signing key, 32 bytes. */
  readonly writer: Uint8Array;
  readonly secret: Uint8Array;
  readonly name: string;
}

/** What a log, as the ring has it now, still needs of the store. */
export interface LogReferences {
  /** Of the newest head: above the own one, somebody else has written, and what that refers to may not be known here. */
  readonly version: number;
  /** The keys of all groups of records, of the index over them, and of the newest snapshot. What no head names any more is not among them. */
  readonly blocks: AsyncIterable<Uint8Array>;
}

/**
 * Enumerates the blocks that all newest heads of a log refer to, in the order oldest first. Reads index nodes and manifests, no records. Asks the
 * ring, not the own disk. Undefined where the ring surely has no such log; LogFault `unavailable` when a newer head may have been missed.
 */
export async function logReferences({
  store,
  writer,
  secret,
  name,
}: ReferencesOptions): Promise<LogReferences | undefined> {
  const keys = new LogKeys(secret, name);
  const found = await store.getHeads(headKey(writer, keys.logId));
  if (!found.sure) throw new LogFault('unavailable', `too few holders of the log ${name} answered`);
  const heads = found.heads.flatMap((bytes) => checkHead(bytes) ?? []);
  if (heads.length === 0) return undefined;
  const states = heads.map((head) => keys.open(head));
  return { version: Math.max(...heads.map(({ version }) => version)), blocks: blocksOf(store, states) };
}

async function* blocksOf(source: BlockSource, states: readonly LogState[]): AsyncGenerator<Uint8Array> {
  for (const { levels, snapshot } of states) {
    for (let level = levels.length - 1; level >= 0; level--) yield* entriesAt(source, levels[level] ?? [], level);
    if (snapshot !== undefined) yield* keysOf(source, snapshot.ref);
  }
}

async function* entriesAt(source: BlockSource, entries: readonly Entry[], level: number): AsyncGenerator<Uint8Array> {
  for (const entry of entries) {
    yield* keysOf(source, entry.ref);
    if (level > 0) yield* entriesAt(source, decodeNode(await getContent(source, entry.ref), entry), level - 1);
  }
}
