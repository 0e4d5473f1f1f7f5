import type { Address } from '../../policy/address.ts';
import type { SigningKey } from '../identity/keys.ts';
import type { Clock, Log as LogLines } from '../overlay/overlay.ts';
import type { BlockSink, BlockSource } from '../store/content.ts';
import type { Store } from '../store/store.ts';
import { LogKeys } from './head-seal.ts';
import type { LogDisk } from './log-disk.ts';
import { findTip } from './opening.ts';
import { OwnLog } from './own-log.ts';
import { LogTip } from './tip.ts';

/** A single-writer, append-only sequence of records with a signed head in the ring (DESIGN §7). */
export interface Log {
  readonly name: string;
  /** Version of the newest own head. */
  readonly version: number;
  /** Records in the log; the next one gets this number. */
  readonly length: number;
  /**
   * Adds records behind each other. Resolves when they and the head are on this node's disk and at the write quorum. Concurrent calls
   * coalesce into one head. `first` is above the length seen before when another writer's records were merged in: read the gap.
   * Throws LogFault `unavailable` when the quorum was not reached: the records are then not in the log (a crash right now may still
   * bring them back when it is opened again, so the caller's records must bear being seen after a failure).
   * With `at`, the records are written as number `at` or not at all: LogFault `overtaken` when others were merged in before them.
   */
  append(records: readonly Uint8Array[], at?: number): Promise<{ first: number }>;
  /** The records from number `from` on, up to the length at the call. */
  read(from: number): AsyncIterable<{ seq: number; record: Uint8Array }>;
  /** The newest snapshot: the state after all records below `seq`. */
  snapshot(): Promise<{ seq: number; state: Uint8Array } | undefined>;
  /** Keeps `state` as that after all records below `seq`, so that replay starts there. */
  saveSnapshot(seq: number, state: Uint8Array): Promise<void>;
  /** More than 500 records since the last snapshot. */
  snapshotDue(): boolean;
  /** Resolves when what was to be appended is, or has failed. */
  close(): Promise<void>;
}

/** What of the store a log needs. */
export type LogStore = BlockSink & BlockSource & Pick<Store, 'putHead' | 'getHeads'>;

export interface LogOptions {
  readonly store: LogStore;
  /** The node's own logs' disk. */
  readonly disk: LogDisk;
  readonly signing: SigningKey;
  /** 32 bytes: opens the records. All of an identity's logs may share it. */
  readonly secret: Uint8Array;
  /** Unique among the owner's logs. */
  readonly name: string;
  /** For whom the blocks are kept. */
  readonly owner: Address;
  /** Whether a log that the ring surely does not have is begun. */
  readonly create: boolean;
  readonly now: Clock;
  readonly log: LogLines;
}

/**
 * Opens a log for its one writer: from this node's disk, or on a fresh node from the ring. Two heads of one version, or a newer head than
 * the own one that does not follow it, are merged (tip.ts). Throws LogFault `missing`, `unavailable`, `fork` or `damaged`.
 */
export async function openLog(options: LogOptions): Promise<Log> {
  const keys = new LogKeys(options.secret, options.name);
  const tip = new LogTip({ ...options, keys });
  await findTip(tip, options);
  return new OwnLog(tip, options, keys);
}
