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
  predecessors,
  recentStart,
} from './log-state.ts';
import { after, isRecord, type Stored, type Takes } from './place.ts';

// A join is five numbers.
const joinBytes = 50;
const sizeOf = (item: Stored): number => (isRecord(item) ? item.length : joinBytes);
// What the steps back reach.
const maxBack = 8;

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
 * The state with further items. When the recent ones are full they become a group, 32 groups an index node, and so on: a head never grows
 * with the log, and any record is a few blocks away. The same state, items and secrecy give the same blocks.
 */
export async function grow(
  state: LogState,
  items: readonly Stored[],
  takes: Takes,
  secrecy: Secrecy,
  lease: Lease,
): Promise<Grown> {
  const collected = new Collected();
  const put = (bytes: Uint8Array): Promise<ContentRef> => putContent(collected, bytes, secrecy, lease);
  const levels = state.levels.map((level) => [...level]);
  let back = [...state.back];
  let recent = [...state.recent];
  let recentBytes = recent.reduce((sum, item) => sum + sizeOf(item), 0);
  // Where the first of `recent` begins, and where the last ends.
  let from = recentStart(state);
  let { end } = state;
  for (const item of items) {
    if (isRecord(item) && item.length > maxRecordBytes) throw new LogFault('too-large', 'a record is at most 16 KiB');
    if (recent.length >= maxRecent || recentBytes + sizeOf(item) > maxRecentBytes) {
      const ref = await put(encodeGroup(recent, predecessors(back)));
      const group = { first: from.seq, count: recent.length, ref, end };
      await addEntry(levels, 0, group, put);
      back = [...back, group].slice(-maxBack);
      recent = [];
      recentBytes = 0;
      from = end;
    }
    recent.push(item);
    recentBytes += sizeOf(item);
    end = after(end, item, takes);
  }
  return { state: { ...state, end, recent, levels, back }, blocks: collected.blocks };
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
  await addEntry(levels, at + 1, { first: oldest.first, count, ref, end: entry.end }, put);
}
