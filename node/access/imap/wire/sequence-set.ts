import { SyntaxFault } from './scanner.ts';

/** `*` is kept apart: what it means depends on the folder (RFC 3501 §9 seq-number). */
export type SetEnd = number | '*';
export type SequenceSet = readonly { readonly from: SetEnd; readonly to: SetEnd }[];

/** Which messages a command names, and by which kind of number. */
export interface MessageSet {
  readonly by: 'sequence' | 'uid';
  /** `saved`: what the last SEARCH RETURN (SAVE) found (RFC 5182). */
  readonly set: SequenceSet | 'saved';
}

// A client that names 100,000 messages one by one is at fault, or wants us to be slow.
const maxRanges = 20_000;
const range = /^([1-9][0-9]{0,9}|\*)(?::([1-9][0-9]{0,9}|\*))?$/;

/** RFC 3501 §9 sequence-set. Throws SyntaxFault. */
export function parseSequenceSet(text: string): SequenceSet {
  const parts = text.split(',', maxRanges + 1);
  if (parts.length > maxRanges) throw new SyntaxFault('the set has too many ranges');
  return parts.map((part) => {
    const match = range.exec(part);
    if (match === null) throw new SyntaxFault('expected a set of message numbers');
    const from = setEnd(match[1] ?? '');
    return { from, to: match[2] === undefined ? from : setEnd(match[2]) };
  });
}

function setEnd(text: string): SetEnd {
  if (text === '*') return '*';
  const value = Number(text);
  if (value > 0xffffffff) throw new SyntaxFault('a message number has at most 32 bits');
  return value;
}

/** Ascending, non-overlapping ranges of numbers, `*` replaced by `largest` (and `n:*` by both of them in order, RFC 3501 §6.4.8). */
export function normalRanges(set: SequenceSet, largest: number): { from: number; to: number }[] {
  const ranges = set
    .map(({ from, to }) => {
      const a = from === '*' ? largest : from;
      const b = to === '*' ? largest : to;
      return { from: Math.min(a, b), to: Math.max(a, b) };
    })
    .sort((a, b) => a.from - b.from);
  const merged: { from: number; to: number }[] = [];
  for (const next of ranges) {
    const last = merged.at(-1);
    if (last !== undefined && next.from <= last.to + 1) last.to = Math.max(last.to, next.to);
    else merged.push({ ...next });
  }
  return merged;
}

/** Whether one of the ranges, ascending and non-overlapping, has the number. */
export function covers(ranges: readonly { readonly from: number; readonly to: number }[], number: number): boolean {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]!.to < number) low = middle + 1;
    else high = middle;
  }
  return (ranges[low]?.from ?? Number.POSITIVE_INFINITY) <= number;
}

/** `3,5:9` of ascending numbers, as COPYUID and the like show them. */
export function formatSet(numbers: readonly number[]): string {
  const ranges: string[] = [];
  for (let first = 0; first < numbers.length; ) {
    let last = first;
    while (last + 1 < numbers.length && numbers[last + 1] === (numbers[last] ?? 0) + 1) last += 1;
    ranges.push(first === last ? `${numbers[first]}` : `${numbers[first]}:${numbers[last]}`);
    first = last + 1;
  }
  return ranges.join(',');
}
