import { equalBytes } from '../identity/canonical.ts';
import type { BlockSource } from '../store/content.ts';
import type { LogState } from './log-state.ts';
import { readRecords } from './reading.ts';

/**
 * How many records two states certainly have in common, counted from the first: what their indexes share (the same records in the same log
 * make the same blocks), without fetching anything.
 */
function sharedByIndex(left: LogState, right: LogState): number {
  const rows = (state: LogState) => [...state.levels].reverse().flat();
  const [ours, theirs] = [rows(left), rows(right)];
  let shared = 0;
  for (const [index, entry] of ours.entries()) {
    const other = theirs[index];
    if (other === undefined || other.count !== entry.count || !equalBytes(other.ref.key, entry.ref.key)) break;
    shared += entry.count;
  }
  return shared;
}

export interface Divergence {
  /** Records that both have, from the first on. */
  readonly common: number;
  /** What each has after those. */
  readonly left: readonly Uint8Array[];
  readonly right: readonly Uint8Array[];
}

/** Where two states of one log part. Reads from the last common index entry on; throws what the source throws. */
export async function diverge(source: BlockSource, left: LogState, right: LogState): Promise<Divergence> {
  const from = sharedByIndex(left, right);
  const [ours, theirs] = await Promise.all([tail(source, left, from), tail(source, right, from)]);
  let same = 0;
  while (same < ours.length && same < theirs.length && equalBytes(ours[same] ?? none, theirs[same] ?? none)) same++;
  return { common: from + same, left: ours.slice(same), right: theirs.slice(same) };
}

const none = new Uint8Array();

async function tail(source: BlockSource, state: LogState, from: number): Promise<Uint8Array[]> {
  const records: Uint8Array[] = [];
  for await (const { record } of readRecords(source, state, from)) records.push(record);
  return records;
}

/** Of the records that only the other lineage has, those whose bytes this one does not have after the parting: what is to be appended again. */
export function missingFrom(own: readonly Uint8Array[], others: readonly Uint8Array[]): Uint8Array[] {
  const have = new Set(own.map((record) => Buffer.from(record).toString('base64')));
  return others.filter((record) => !have.has(Buffer.from(record).toString('base64')));
}
