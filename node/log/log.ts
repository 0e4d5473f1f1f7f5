import type { Address } from '../../policy/address.ts';
import type { SigningKey } from '../identity/keys.ts';
import type { Clock, Log as LogLines } from '../overlay/overlay.ts';
import type { BlockSink, BlockSource } from '../store/content.ts';
import type { Store } from '../store/store.ts';
import { LogKeys } from './head-seal.ts';
import type { LogHints } from './hints.ts';
import type { LogShelf } from './log-disk.ts';
import { findTip } from './opening.ts';
import { OwnLog } from './own-log.ts';
import type { LogItem, Place, Takes } from './place.ts';
import { LogTip } from './tip.ts';

/** A single-writer, append-only sequence of records with a signed head in the ring (DESIGN §7). */
export interface Log {
  readonly name: string;
  /** Version of the newest own head. */
  readonly version: number;
  /** Items in the log; the next one gets this number. */
  readonly length: number;
  /** Where the next item will be. */
  readonly place: Place;
  /**
   * Adds records behind each other. Resolves when they and the head are on this node's disk and at the write quorum. Concurrent calls
   * coalesce into one head. `first` is above the length seen before when another writer's records were merged in.
   * Throws LogFault `unavailable` when the quorum was not reached: the records are then not in the log (a crash right now may still
   * bring them back when it is opened again, so the caller's records must bear being seen after a failure).
   * With `at`, the records are written there or not at all: LogFault `overtaken` when the log has other items by now.
   */
  append(records: readonly Uint8Array[], at?: Place): Promise<{ first: number }>;
  /** What lies in the log from number `from` on, up to the end at the call; what is lost for good is told, and what follows keeps its numbers. */
  read(from: number): AsyncIterable<LogItem>;
  /** Whether the log still begins with the items before this place. Not so after a merge in which another history went on. */
  holds(place: Place): Promise<boolean>;
  /** Asks the holders for what other nodes of the writer have appended, and brings it in; whether `place` moved. k small questions. */
  refresh(): Promise<boolean>;
  /** Calls back when another node tells that it wrote, within moments as a rule and without any promise: then {@link refresh}. Returns how to stop it. */
  onNews(listener: () => void): () => void;
  /** The newest snapshot: the state after all items before `at`. */
  snapshot(): Promise<{ at: Place; state: Uint8Array } | undefined>;
  /** Keeps `state` as that after all items before `at`, so that replay starts there. LogFault `overtaken` where the log does not hold it. */
  saveSnapshot(at: Place, state: Uint8Array): Promise<void>;
  /** More than 500 items since the last snapshot. */
  snapshotDue(): boolean;
  /** Resolves when what was to be appended is, or has failed. */
  close(): Promise<void>;
}

/** What of the store a log needs. */
export type LogStore = BlockSink & BlockSource & Pick<Store, 'putHead' | 'getHeads'>;

export interface LogOptions {
  readonly store: LogStore;
  /** The node's own logs' disk. */
  readonly disk: LogShelf;
  readonly signing: SigningKey;
  /** 32 bytes: opens the records. All of an identity's logs may share it. */
  readonly secret: Uint8Array;
  /** Unique among the owner's logs. */
  readonly name: string;
  /** For whom the blocks are kept. */
  readonly owner: Address;
  /** Whether a log that the ring surely does not have is begun. */
  readonly create: boolean;
  /** Which records take a number ({@link Place.numbers}); none without it. The same at every node, for ever. */
  readonly takes?: Takes | undefined;
  /** How the other nodes of the writer hear of a new head; without it they look from time to time. */
  readonly hints?: LogHints | undefined;
  readonly now: Clock;
  readonly log: LogLines;
}

/**
 * Opens a log for its one writer: from this node's disk, or on a fresh node from the ring. Two heads of one version, or a newer head than
 * the own one that does not follow it, become one (tip.ts). Throws LogFault `missing`, `unavailable`, `fork` or `damaged`.
 */
export async function openLog(options: LogOptions): Promise<Log> {
  const keys = new LogKeys(options.secret, options.name);
  const takes = options.takes ?? (() => 0);
  const tip = new LogTip({ ...options, takes, keys });
  await findTip(tip, options);
  return new OwnLog(tip, { ...options, takes, hints: options.hints }, keys);
}
