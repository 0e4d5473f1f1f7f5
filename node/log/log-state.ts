import { decode, encode } from '@ipld/dag-cbor';
import { type ContentRef, decodeRef, encodeRef } from '../store/content.ts';
import { LogFault } from './fault.ts';

/** Records that lie in the head itself, so that reading the newest needs one block (DESIGN §7). */
export const maxRecent = 50;
/** Their bytes: with the index below, a head stays under its 60,000. */
export const maxRecentBytes = 32 * 1024;
/** Larger things are content, and a record refers to them. */
export const maxRecordBytes = 16 * 1024;
/** Entries of one index node: a million records are 20,000 groups, and 32³ is more. */
export const fanOut = 32;
// 32⁵ groups are 1.6 billion records.
const maxLevels = 5;

/** A stored piece of the log: a group of records (level 0) or an index node over entries of the level below. */
export interface Entry {
  readonly first: number;
  readonly count: number;
  readonly ref: ContentRef;
}

/** What a head says: all records of the log, the newest in place, the others by an index whose size grows with the logarithm of their number. */
export interface LogState {
  readonly length: number;
  /** The last records; the first of them has the number `length - recent.length`. */
  readonly recent: readonly Uint8Array[];
  /** `levels[0]`: groups not under an index node yet; `levels[n]`: nodes over 32 entries of level n-1. The highest level holds the oldest records. */
  readonly levels: readonly (readonly Entry[])[];
  readonly snapshot: { readonly seq: number; readonly ref: ContentRef } | undefined;
}

export const emptyState: LogState = { length: 0, recent: [], levels: [], snapshot: undefined };

type Row = readonly [number, number, Uint8Array];

function rowOf({ first, count, ref }: Entry): Row {
  return [first, count, encodeRef(ref)];
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function entryOf(value: unknown): Entry {
  if (!Array.isArray(value) || value.length !== 3) throw new LogFault('damaged', 'an index entry has three fields');
  const [first, count, ref] = value as readonly unknown[];
  if (!isCount(first) || !isCount(count) || count === 0 || !(ref instanceof Uint8Array))
    throw new LogFault('damaged', 'an index entry has a first number, a count and a reference');
  return { first, count, ref: decodeRef(ref) };
}

function listOf<T>(value: unknown, max: number, item: (value: unknown) => T): T[] {
  if (!Array.isArray(value) || value.length > max) throw new LogFault('damaged', `expected a list of up to ${max}`);
  return value.map(item);
}

function recordOf(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length > maxRecordBytes)
    throw new LogFault('damaged', 'a record is up to 16 KiB of bytes');
  return value;
}

function parse(bytes: Uint8Array): unknown {
  try {
    return decode(bytes);
  } catch (cause) {
    throw new LogFault('damaged', 'a part of the log is not DAG-CBOR', cause);
  }
}

export function encodeState({ length, recent, levels, snapshot }: LogState): Uint8Array {
  const snap = snapshot === undefined ? null : [snapshot.seq, encodeRef(snapshot.ref)];
  return encode([1, length, recent, levels.map((level) => level.map(rowOf)), snap]);
}

/** Throws LogFault `damaged` for what no writer of ours signs: numbers that do not run from 0 to the length without a gap. */
export function decodeState(bytes: Uint8Array): LogState {
  const value = parse(bytes);
  if (!Array.isArray(value) || value.length !== 5 || value[0] !== 1)
    throw new LogFault('damaged', 'a head is of another format');
  const [, length, recents, levelRows, snap] = value as readonly unknown[];
  const recent = listOf(recents, maxRecent, recordOf);
  const levels = listOf(levelRows, maxLevels, (level) => listOf(level, fanOut, entryOf));
  const snapshot = snap === null ? undefined : snapshotOf(snap);
  let next = 0;
  for (const { first, count } of [...levels].reverse().flat()) {
    if (first !== next) throw new LogFault('damaged', 'the index of the log has a gap');
    next += count;
  }
  if (next + recent.length !== length || (snapshot !== undefined && snapshot.seq > length))
    throw new LogFault('damaged', 'the numbers of the log do not add up');
  return { length, recent, levels, snapshot };
}

function snapshotOf(value: unknown): { seq: number; ref: ContentRef } {
  if (!Array.isArray(value) || !isCount(value[0]) || !(value[1] instanceof Uint8Array))
    throw new LogFault('damaged', 'a snapshot has a number and a reference');
  return { seq: value[0], ref: decodeRef(value[1]) };
}

export function encodeGroup(records: readonly Uint8Array[]): Uint8Array {
  return encode(records);
}

/** The records of a group; throws LogFault `damaged` unless there are `count`. */
export function decodeGroup(bytes: Uint8Array, count: number): Uint8Array[] {
  const records = listOf(parse(bytes), maxRecent, recordOf);
  if (records.length !== count) throw new LogFault('damaged', 'a group has another number of records than its entry');
  return records;
}

export function encodeNode(entries: readonly Entry[]): Uint8Array {
  return encode(entries.map(rowOf));
}

/** The entries under an index node; throws LogFault `damaged` unless they cover just what it covers. */
export function decodeNode(bytes: Uint8Array, { first, count }: Entry): Entry[] {
  const entries = listOf(parse(bytes), fanOut, entryOf);
  let next = first;
  for (const entry of entries) {
    if (entry.first !== next) throw new LogFault('damaged', 'an index node has a gap');
    next += entry.count;
  }
  if (next !== first + count) throw new LogFault('damaged', 'an index node covers other records than its entry');
  return entries;
}
