import { type BlockSource, getContent } from '../store/content.ts';
import { decodeGroup, type Entry, type LogState } from './log-state.ts';
import { isGone, type Piece } from './piece.ts';
import type { Place } from './place.ts';

interface Loss {
  readonly state: LogState;
  /** The node of the index that cannot be read. */
  readonly lost: Entry;
  /** Where what it covered begins, and from which number on it is wanted. */
  readonly from: Place;
  readonly seq: number;
  /** The groups from a number on, by the index. */
  readonly later: (source: BlockSource, state: LogState, seq: number) => AsyncGenerator<Piece>;
}

// Groups behind the loss that are tried as a way in: each names four before it, so most of them may be lost as well.
const maxWaysIn = 8;

/**
 * The groups under a lost node of the index, found through those behind it: each names the ones 1, 2, 4 and 8 before it. What cannot be
 * reached so is told as lost. Walks one group after the other: slow, and only ever done for what is damaged.
 */
export async function* salvage(source: BlockSource, loss: Loss): AsyncGenerator<Piece> {
  const { lost, seq } = loss;
  const found: Piece[] = [];
  const known = new Map<number, Entry>();
  for (const entry of await waysIn(source, loss)) known.set(entry.first, entry);
  const tried = new Set<number>();
  for (;;) {
    // The latest first: what it names is before it, so nothing is walked twice.
    const next = latest([...known.values()].filter(({ first }) => !tried.has(first)));
    if (next === undefined || next.end.seq <= Math.max(lost.first, seq)) break;
    tried.add(next.first);
    const group = await groupOf(source, next);
    if (group === undefined) continue;
    if (next.end.seq <= lost.end.seq) found.unshift({ from: group.from, entry: next, lost: false });
    for (const entry of group.back) known.set(entry.first, entry);
  }
  yield* withGaps(found, loss);
}

async function waysIn(source: BlockSource, { state, lost, later }: Loss): Promise<Entry[]> {
  const ways = state.back.filter(({ end }) => end.seq <= lost.end.seq);
  if (ways.length > 0) return ways;
  for await (const piece of later(source, state, lost.end.seq)) {
    if (!piece.lost) ways.push(piece.entry);
    if (ways.length === maxWaysIn) break;
  }
  return ways;
}

async function groupOf(source: BlockSource, entry: Entry): Promise<ReturnType<typeof decodeGroup> | undefined> {
  try {
    return decodeGroup(await getContent(source, entry.ref), entry);
  } catch (cause) {
    if (isGone(cause)) return undefined;
    throw cause;
  }
}

/** What was found, in order, and between it what was not. */
function* withGaps(found: readonly Piece[], { lost, from, seq }: Loss): Generator<Piece> {
  let at = from;
  for (const piece of found) {
    if (piece.entry.end.seq <= seq) continue;
    if (piece.from.seq > Math.max(at.seq, seq)) yield gap(at, piece.from, piece.entry);
    yield piece;
    at = piece.entry.end;
  }
  if (at.seq < lost.end.seq) yield gap(at, lost.end, lost);
}

function gap(from: Place, end: Place, { ref }: Entry): Piece {
  return { from, entry: { first: from.seq, count: end.seq - from.seq, ref, end }, lost: true };
}

function latest(entries: readonly Entry[]): Entry | undefined {
  return entries.reduce<Entry | undefined>(
    (last, one) => (last === undefined || one.first > last.first ? one : last),
    undefined,
  );
}
