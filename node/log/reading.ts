import { type BlockSource, getContent } from '../store/content.ts';
import { decodeGroup, decodeNode, type Entry, type LogState, recentStart, topEntries } from './log-state.ts';
import { isGone, type Piece } from './piece.ts';
import { itemsAfter, type LogItem, type Place, type Stored, samePlace, start, type Takes } from './place.ts';
import { salvage } from './salvage.ts';

interface Loaded extends Piece {
  readonly items: readonly Stored[];
  readonly chains: readonly Uint8Array[];
}

// Groups fetched before they are asked for: replay of a long log is bound by the round trip otherwise.
const groupsAhead = 8;

/** The groups that hold items from number `seq` on, in order; those that are lost with their index are found through the ones behind them. */
async function* pieces(
  source: BlockSource,
  state: LogState,
  entries: readonly Entry[],
  level: number,
  from: Place,
  seq: number,
): AsyncGenerator<Piece> {
  for (const entry of entries) {
    if (entry.end.seq > seq) {
      if (level === 0) yield { from, entry, lost: false };
      else {
        const below = await nodeOf(source, entry);
        if (below === undefined) yield* salvage(source, { state, lost: entry, from, seq, later: allPieces });
        else yield* pieces(source, state, below, level - 1, from, seq);
      }
    }
    from = entry.end;
  }
}

async function nodeOf(source: BlockSource, entry: Entry): Promise<Entry[] | undefined> {
  try {
    return decodeNode(await getContent(source, entry.ref), entry);
  } catch (cause) {
    if (isGone(cause)) return undefined;
    throw cause;
  }
}

/** All pieces from number `seq` on that lie outside the head. */
export async function* allPieces(source: BlockSource, state: LogState, seq: number): AsyncGenerator<Piece> {
  let from = start;
  for (let level = state.levels.length - 1; level >= 0; level--) {
    const entries = state.levels[level] ?? [];
    yield* pieces(source, state, entries, level, from, seq);
    from = entries.at(-1)?.end ?? from;
  }
}

async function load(source: BlockSource, piece: Piece): Promise<Loaded> {
  if (piece.lost) return { ...piece, items: [], chains: [] };
  try {
    const { items, chains, from } = decodeGroup(await getContent(source, piece.entry.ref), piece.entry);
    if (!samePlace(from, piece.from)) return { ...piece, lost: true, items: [], chains: [] };
    return { ...piece, items, chains };
  } catch (cause) {
    if (isGone(cause)) return { ...piece, lost: true, items: [], chains: [] };
    throw cause;
  }
}

/**
 * The items of a state from number `seq` on. Where a block is gone for good its items are told as missing, and what follows is read with its
 * proper numbers. Throws what the source throws when it cannot say: that may come back.
 */
export async function* readItems(
  source: BlockSource,
  state: LogState,
  seq: number,
  takes: Takes,
): AsyncGenerator<LogItem> {
  const ahead: Promise<Loaded>[] = [];
  try {
    for await (const piece of allPieces(source, state, seq)) {
      const loading = load(source, piece);
      loading.catch(() => undefined); // Met when its turn comes, or by allSettled when the reader leaves first.
      ahead.push(loading);
      if (ahead.length >= groupsAhead) yield* told(await ahead.shift(), seq, takes);
    }
    while (ahead.length > 0) yield* told(await ahead.shift(), seq, takes);
  } finally {
    await Promise.allSettled(ahead);
  }
  for (const item of itemsAfter(recentStart(state), state.recent, takes)) if (item.seq >= seq) yield item;
}

function* told(loaded: Loaded | undefined, seq: number, takes: Takes): Generator<LogItem> {
  if (loaded === undefined) return;
  const { from, entry, lost, items, chains } = loaded;
  if (lost) {
    const first = Math.max(seq, from.seq);
    yield { kind: 'missing', seq: first, count: entry.end.seq - first, after: entry.end };
    return;
  }
  for (const item of itemsAfter(from, items, takes, chains))
    if (item.seq >= seq) yield item.after.seq === entry.end.seq ? { ...item, after: entry.end } : item;
}

/** The place in front of item `seq`, or undefined where nobody can say any more. */
export async function placeAt(
  source: BlockSource,
  state: LogState,
  seq: number,
  takes: Takes,
): Promise<Place | undefined> {
  if (seq > state.end.seq || seq < 0) return undefined;
  if (seq === state.end.seq) return state.end;
  if (seq === 0) return start;
  const known = topEntries(state).find(({ end }) => end.seq === seq)?.end;
  if (known !== undefined) return known;
  for await (const item of readItems(source, state, seq - 1, takes))
    return item.after.seq === seq ? item.after : undefined;
  return undefined;
}
