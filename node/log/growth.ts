import type { Block, BlockSink, Lease } from '../store/content.ts';
import { type ContentRef, putContent, type Secrecy } from '../store/content.ts';
import { LogFault } from './fault.ts';
import {
  type Entry,
  encodeGroup,
  encodeNode,
  fanOut,
  type LogState,
  maxRecent,
  maxRecentBytes,
  maxRecordBytes,
} from './log-state.ts';

/** A state and the blocks that must be durable before a head may say it. */
export interface Grown {
  readonly state: LogState;
  readonly blocks: readonly Block[];
}

/** Takes blocks without putting them anywhere yet, so that those of many groups travel together. */
class Collected implements BlockSink {
  readonly blocks: Block[] = [];

  async insert(blocks: readonly Block[]): Promise<{ copies: number; wanted: number }> {
    this.blocks.push(...blocks);
    return { copies: 0, wanted: 0 };
  }
}

/**
 * The state with further records. When the recent ones are full they become a group, 32 groups an index node, and so on: a head never grows
 * with the log, and any record is a few blocks away. The same state, records and secrecy give the same blocks.
 */
export async function grow(
  state: LogState,
  records: readonly Uint8Array[],
  secrecy: Secrecy,
  lease: Lease,
): Promise<Grown> {
  const collected = new Collected();
  const put = (bytes: Uint8Array): Promise<ContentRef> => putContent(collected, bytes, secrecy, lease);
  const levels = state.levels.map((level) => [...level]);
  let recent = [...state.recent];
  let recentBytes = recent.reduce((sum, record) => sum + record.length, 0);
  let length = state.length;
  for (const record of records) {
    if (record.length > maxRecordBytes) throw new LogFault('too-large', 'a record is at most 16 KiB');
    if (recent.length >= maxRecent || recentBytes + record.length > maxRecentBytes) {
      const ref = await put(encodeGroup(recent));
      await addEntry(levels, 0, { first: length - recent.length, count: recent.length, ref }, put);
      recent = [];
      recentBytes = 0;
    }
    recent.push(record);
    recentBytes += record.length;
    length++;
  }
  return { state: { ...state, length, recent, levels }, blocks: collected.blocks };
}

async function addEntry(
  levels: Entry[][],
  at: number,
  entry: Entry,
  put: (bytes: Uint8Array) => Promise<ContentRef>,
): Promise<void> {
  const level = levels[at] ?? [];
  levels[at] = level;
  level.push(entry);
  const [oldest] = level;
  if (level.length < fanOut || oldest === undefined) return;
  const count = level.reduce((sum, one) => sum + one.count, 0);
  const ref = await put(encodeNode(level));
  levels[at] = [];
  await addEntry(levels, at + 1, { first: oldest.first, count, ref }, put);
}
