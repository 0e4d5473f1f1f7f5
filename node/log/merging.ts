import { equalBytes } from '../identity/canonical.ts';
import type { BlockSource } from '../store/content.ts';
import { LogFault } from './fault.ts';
import { type LogState, topEntries } from './log-state.ts';
import { isRecord, type Join, type Place, type Stored, start, type Takes, taken } from './place.ts';
import { placeAt, readItems } from './reading.ts';

/**
 * Where two states certainly have all before in common: as far as their indexes share entries (the same items in the same log make the same
 * blocks), without fetching anything.
 */
function sharedByIndex(left: LogState, right: LogState): Place {
  const [ours, theirs] = [topEntries(left), topEntries(right)];
  let shared = start;
  for (const [index, entry] of ours.entries()) {
    const other = theirs[index];
    if (other === undefined || other.count !== entry.count || !equalBytes(other.ref.key, entry.ref.key)) break;
    shared = entry.end;
  }
  return shared;
}

export interface Divergence {
  /** Up to here both have the same items. */
  readonly common: Place;
  /** What each has after that. */
  readonly left: readonly Stored[];
  readonly right: readonly Stored[];
}

/** Where two states of one log part. Reads from the last common index entry on; throws what the source throws, and LogFault `damaged`. */
export async function diverge(source: BlockSource, left: LogState, right: LogState, takes: Takes): Promise<Divergence> {
  const shared = sharedByIndex(left, right);
  const [ours, theirs] = await Promise.all([tail(source, left, shared, takes), tail(source, right, shared, takes)]);
  let same = 0;
  while (
    same < ours.length &&
    same < theirs.length &&
    equalBytes(ours[same]?.chain ?? none, theirs[same]?.chain ?? none)
  )
    same++;
  const common = same === 0 ? shared : await placeAt(source, left, shared.seq + same, takes);
  if (common === undefined) throw new LogFault('damaged', 'the place where two heads part cannot be read');
  const rest = (items: readonly Read[]): Stored[] => items.slice(same).map(({ item }) => item);
  return { common, left: rest(ours), right: rest(theirs) };
}

interface Read {
  readonly item: Stored;
  readonly chain: Uint8Array;
}

const none = new Uint8Array();

async function tail(source: BlockSource, state: LogState, from: Place, takes: Takes): Promise<Read[]> {
  const read: Read[] = [];
  for await (const item of readItems(source, state, from.seq, takes)) {
    if (item.kind === 'missing')
      throw new LogFault('damaged', `${item.count} items from number ${item.seq} on cannot be read`);
    read.push({ item: item.kind === 'join' ? item.join : item.record, chain: item.after.chain });
  }
  return read;
}

/**
 * Of the records that only the other history has, those that this one does not have after the parting, each as often as it has it more: what is to
 * be appended again. What the other's joins say is said of the other's history alone.
 */
export function missingFrom(own: readonly Stored[], others: readonly Stored[]): Uint8Array[] {
  const have = new Map<string, number>();
  const name = (record: Uint8Array): string => Buffer.from(record).toString('base64');
  for (const item of own) if (isRecord(item)) have.set(name(item), (have.get(name(item)) ?? 0) + 1);
  return others.filter(isRecord).filter((record) => {
    const left = have.get(name(record)) ?? 0;
    if (left > 0) have.set(name(record), left - 1);
    return left === 0;
  });
}

/** What two histories become. `first` is the one that goes on. */
export type Joined =
  /** One goes on where the other ends: they never parted. */
  | { readonly kind: 'first' }
  | { readonly kind: 'second' }
  /** The first with these items behind it. */
  | { readonly kind: 'both'; readonly items: readonly Stored[] };

/**
 * Joins two histories. Says the same wherever it is asked, so that two nodes which join the same two heads make the same one. Numbers that the
 * second gave out after the parting are not given again: what the first has under them gets others (DESIGN §7: uids are never reused).
 */
export async function join(source: BlockSource, first: LogState, second: LogState, takes: Takes): Promise<Joined> {
  const { common, left, right } = await diverge(source, first, second, takes);
  if (right.length === 0) return { kind: 'first' };
  if (left.length === 0) return { kind: 'second' };
  const missing = missingFrom(left, right);
  // A join in the second history may have given others to what both had: then those, too, mean nothing to its readers any more.
  const joins = right.flatMap((item) => (isRecord(item) ? [] : item.from));
  const from = {
    numbers: Math.min(common.numbers, ...joins.map(({ numbers }) => numbers)),
    height: Math.min(common.height, ...joins.map(({ height }) => height)),
  };
  const given = left.reduce((sum, item) => sum + taken(item, takes), 0);
  const join: Join = {
    from,
    most: { numbers: second.end.numbers, height: second.end.height },
    moves: common.numbers - from.numbers + given,
  };
  return { kind: 'both', items: [join, ...missing] };
}
