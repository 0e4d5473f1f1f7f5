/** Ascending, not overlapping: [first, last, first, last, …]. */
export type UidRanges = readonly number[];

/** Ascending uids as ranges: a mailbox-wide change is a few octets. */
export function toRanges(uids: readonly number[]): UidRanges {
  const ranges: number[] = [];
  for (const uid of uids) {
    if (ranges.length > 0 && ranges.at(-1) === uid - 1) ranges[ranges.length - 1] = uid;
    else ranges.push(uid, uid);
  }
  return ranges;
}

/** The ranges in pieces of at most `pairs` ranges, so that a record stays small however scattered its uids are. */
export function splitRanges(ranges: UidRanges, pairs: number): readonly UidRanges[] {
  const pieces: UidRanges[] = [];
  for (let from = 0; from < ranges.length; from += pairs * 2) pieces.push(ranges.slice(from, from + pairs * 2));
  return pieces;
}
