import { decode, encode } from '@ipld/dag-cbor';
import { type ContentRef, decodeRef, encodeRef } from '../store/content.ts';
import { LogFault } from './fault.ts';
import { chainsAfter, isRecord, type Join, joinRow, type Place, type Stored, samePlace, start } from './place.ts';

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

/**
 * Groups that a group and the head name beside the index: those 1, 2, 4 and 8 before it. Where a node of the index is lost, the groups under it
 * are reached through the ones behind them, past up to seven lost ones in a row (DESIGN §7: four predecessors).
 */
export const backSteps: readonly number[] = [1, 2, 4, 8];

/** A stored piece of the log: a group of items (level 0) or an index node over entries of the level below. */
export interface Entry {
  readonly first: number;
  readonly count: number;
  readonly ref: ContentRef;
  /** The place behind its last item, so that what follows keeps its numbers when this one is lost. */
  readonly end: Place;
}

/** What a head says: all items of the log, the newest in place, the others by an index whose size grows with the logarithm of their number. */
export interface LogState {
  readonly end: Place;
  /** The last items; the first of them has the number `end.seq - recent.length`. */
  readonly recent: readonly Stored[];
  /** `levels[0]`: groups not under an index node yet; `levels[n]`: nodes over 32 entries of level n-1. The highest level holds the oldest items. */
  readonly levels: readonly (readonly Entry[])[];
  /** The newest groups, oldest first, at most 8: what the next one may name as its predecessors. */
  readonly back: readonly Entry[];
  readonly snapshot: { readonly at: Place; readonly ref: ContentRef } | undefined;
}

export const emptyState: LogState = { end: start, recent: [], levels: [], back: [], snapshot: undefined };

/** The entries a head names, oldest first. */
export function topEntries({ levels }: LogState): Entry[] {
  return [...levels].reverse().flat();
}

/** Where the items that lie in the head itself begin. */
export function recentStart(state: LogState): Place {
  return topEntries(state).at(-1)?.end ?? start;
}

/** Of the groups so far (oldest first), those that the next one names. */
export function predecessors(groups: readonly Entry[]): Entry[] {
  return backSteps.flatMap((step) => groups.at(-step) ?? []);
}

function placeRow({ seq, chain, numbers, height }: Place): readonly [number, Uint8Array, number, number] {
  return [seq, chain, numbers, height];
}

function placeOf(value: unknown): Place {
  if (!Array.isArray(value) || value.length !== 4) throw new LogFault('damaged', 'a place has four fields');
  const [seq, chain, numbers, height] = value as readonly unknown[];
  if (!isCount(seq) || !(chain instanceof Uint8Array) || chain.length !== 16 || !isCount(numbers) || !isCount(height))
    throw new LogFault('damaged', 'a place has three numbers and a hash of 16 bytes');
  return { seq, chain, numbers, height };
}

type Row = readonly [number, number, Uint8Array, ...ReturnType<typeof placeRow>];

function rowOf({ first, count, ref, end }: Entry): Row {
  return [first, count, encodeRef(ref), ...placeRow(end)];
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function entryOf(value: unknown): Entry {
  if (!Array.isArray(value) || value.length !== 7) throw new LogFault('damaged', 'an index entry has seven fields');
  const [first, count, ref, ...end] = value as readonly unknown[];
  if (!isCount(first) || !isCount(count) || count === 0 || !(ref instanceof Uint8Array))
    throw new LogFault('damaged', 'an index entry has a first number, a count and a reference');
  const entry = { first, count, ref: decodeRef(ref), end: placeOf(end) };
  if (entry.end.seq !== first + count) throw new LogFault('damaged', 'an index entry ends elsewhere than it says');
  return entry;
}

function listOf<T>(value: unknown, max: number, item: (value: unknown) => T): T[] {
  if (!Array.isArray(value) || value.length > max) throw new LogFault('damaged', `expected a list of up to ${max}`);
  return value.map(item);
}

function storedOf(value: unknown): Stored {
  if (Array.isArray(value)) return joinOf(value);
  if (!(value instanceof Uint8Array) || value.length > maxRecordBytes)
    throw new LogFault('damaged', 'a record is up to 16 KiB of bytes');
  return value;
}

function joinOf(row: readonly unknown[]): Join {
  const [fromNumbers, fromHeight, numbers, height, moves] = row;
  const counts = [fromNumbers, fromHeight, numbers, height, moves].filter(isCount);
  if (row.length !== 5 || counts.length !== 5) throw new LogFault('damaged', 'a join has five numbers');
  return {
    from: { numbers: counts[0] ?? 0, height: counts[1] ?? 0 },
    most: { numbers: counts[2] ?? 0, height: counts[3] ?? 0 },
    moves: counts[4] ?? 0,
  };
}

function keptAs(item: Stored): Uint8Array | readonly number[] {
  return isRecord(item) ? item : joinRow(item);
}

function parse(bytes: Uint8Array): unknown {
  try {
    return decode(bytes);
  } catch (cause) {
    throw new LogFault('damaged', 'a part of the log is not DAG-CBOR', cause);
  }
}

export function encodeState({ end, recent, levels, back, snapshot }: LogState): Uint8Array {
  const snap = snapshot === undefined ? null : [placeRow(snapshot.at), encodeRef(snapshot.ref)];
  const rows = levels.map((level) => level.map(rowOf));
  return encode([2, placeRow(end), recent.map(keptAs), rows, back.map(rowOf), snap]);
}

/** Throws LogFault `damaged` for what no writer of ours signs: numbers that do not run from 0 to the end without a gap. */
export function decodeState(bytes: Uint8Array): LogState {
  const value = parse(bytes);
  if (!Array.isArray(value) || value.length !== 6 || value[0] !== 2)
    throw new LogFault('damaged', 'a head is of another format');
  const [, endRow, recents, levelRows, backRows, snap] = value as readonly unknown[];
  const end = placeOf(endRow);
  const recent = listOf(recents, maxRecent, storedOf);
  const levels = listOf(levelRows, maxLevels, (level) => listOf(level, fanOut, entryOf));
  const back = listOf(backRows, Math.max(...backSteps), entryOf);
  const snapshot = snap === null ? undefined : snapshotOf(snap);
  const state = { end, recent, levels, back, snapshot };
  if (contiguous(topEntries(state), 0) + recent.length !== end.seq || (snapshot?.at.seq ?? 0) > end.seq)
    throw new LogFault('damaged', 'the numbers of the log do not add up');
  if (!endsAt(recentStart(state), chainsAfter(recentStart(state).chain, recent), end))
    throw new LogFault('damaged', 'the items in the head are not those that it names');
  return state;
}

/** Whether items with these chains behind each of them lead from one place to the other. */
function endsAt(from: Place, chains: readonly Uint8Array[], end: Pick<Place, 'seq' | 'chain'>): boolean {
  return samePlace({ seq: from.seq + chains.length, chain: chains.at(-1) ?? from.chain }, end);
}

/** Where entries that begin at `next` end; throws where one does not begin where the one before it ended. */
function contiguous(entries: readonly Entry[], next: number): number {
  for (const { first, count } of entries) {
    if (first !== next) throw new LogFault('damaged', 'the index of the log has a gap');
    next += count;
  }
  return next;
}

function snapshotOf(value: unknown): { at: Place; ref: ContentRef } {
  if (!Array.isArray(value) || value.length !== 2 || !(value[1] instanceof Uint8Array))
    throw new LogFault('damaged', 'a snapshot has a place and a reference');
  return { at: placeOf(value[0]), ref: decodeRef(value[1]) };
}

export function encodeGroup(items: readonly Stored[], back: readonly Entry[]): Uint8Array {
  return encode([back.map(rowOf), items.map(keptAs)]);
}

/** What lies in a group, and the groups before it that it names, the nearest first. Throws LogFault `damaged` unless it is all that its entry says. */
export function decodeGroup(
  bytes: Uint8Array,
  entry: Entry,
): { readonly from: Place; readonly items: Stored[]; readonly chains: Uint8Array[]; readonly back: Entry[] } {
  const value = parse(bytes);
  if (!Array.isArray(value) || value.length !== 2) throw new LogFault('damaged', 'a group has two fields');
  const [rows, kept] = value as readonly unknown[];
  const items = listOf(kept, maxRecent, storedOf);
  const back = listOf(rows, backSteps.length, entryOf);
  if (back.some(({ end }) => end.seq > entry.first)) throw new LogFault('damaged', 'a group names what is behind it');
  const from = back[0]?.end ?? start;
  const chains = chainsAfter(from.chain, items);
  if (items.length !== entry.count || !endsAt(from, chains, entry.end))
    throw new LogFault('damaged', 'a group has other items than its entry says');
  return { from, items, chains, back };
}

export function encodeNode(entries: readonly Entry[]): Uint8Array {
  return encode(entries.map(rowOf));
}

/** The entries under an index node; throws LogFault `damaged` unless they cover just what it covers. */
export function decodeNode(bytes: Uint8Array, { first, count, end }: Entry): Entry[] {
  const entries = listOf(parse(bytes), fanOut, entryOf);
  if (contiguous(entries, first) !== first + count || !samePlace(entries.at(-1)?.end ?? start, end))
    throw new LogFault('damaged', 'an index node covers other items than its entry');
  return entries;
}
