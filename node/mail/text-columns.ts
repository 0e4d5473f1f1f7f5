import { createHash } from 'node:crypto';

/** What searches ask for by name: one column for each. */
export const textColumns = [
  'from',
  'to',
  'cc',
  'bcc',
  'subject',
  'message-id',
  'in-reply-to',
  'references',
  'list-id',
  'sent',
] as const;
export type TextColumn = (typeof textColumns)[number];

/** Of one message: the values in each column, in the form in which they are searched. */
export type Texts = Readonly<Record<TextColumn, readonly string[]>>;

/** A text that a value has in it (the empty one: that there is a value), or a test of the first value. */
export type Wanted = string | ((value: string) => boolean);

/** Of a row, in what a search gives. */
export const mark = { unknown: 0, no: 1, yes: 2 } as const;

// A longer cell (a message to hundreds of people) is not kept: whoever searches reads that message.
const maxCellBytes = 4_096;

// Octets that UTF-8 never has: what is found lies in one value, and a cell that is not kept holds none.
const endOfValue = 0xff;
const notKept = 0xfe;

/** One column of some messages: their cells one behind the other. */
export interface Column {
  /** Where each row ends. */
  readonly ends: Uint32Array;
  readonly text: Buffer;
}

export function cellOf(values: readonly string[]): Buffer {
  const cell = Buffer.concat(values.flatMap((value) => [Buffer.from(value, 'utf8'), Buffer.of(endOfValue)]));
  return cell.length > maxCellBytes ? Buffer.of(notKept) : cell;
}

/** Marks the rows from `marks[from]` on: `yes` where the cell has what is wanted, `unknown` where it is not kept, else `no`. */
export function searchColumn(column: Column, wanted: Wanted, marks: Uint8Array, from: number): void {
  const { ends, text } = column;
  marks.fill(mark.no, from, from + ends.length);
  if (typeof wanted === 'string' && wanted !== '') {
    eachRowWith(column, Buffer.from(wanted, 'utf8'), (row) => (marks[from + row] = mark.yes));
  } else {
    let start = 0;
    for (const [row, end] of ends.entries()) {
      const value = end > start ? text.toString('latin1', start, text.indexOf(endOfValue, start)) : undefined;
      if (value !== undefined && (wanted === '' || (typeof wanted === 'function' && wanted(value))))
        marks[from + row] = mark.yes;
      start = end;
    }
  }
  eachRowWith(column, Buffer.of(notKept), (row) => (marks[from + row] = mark.unknown));
}

function eachRowWith({ ends, text }: Column, octets: Buffer, visit: (row: number) => void): void {
  let row = 0;
  for (let at = text.indexOf(octets); at !== -1; at = text.indexOf(octets, ends[row])) {
    while ((ends[row] ?? text.length) <= at) row += 1;
    visit(row);
  }
}

const tagBytes = 8;

/** Names the messages of a segment: a column belongs to it if it has the same tag. */
export function tagOf(keys: readonly string[]): Buffer {
  return createHash('sha256').update(keys.join(''), 'latin1').digest().subarray(0, tagBytes);
}

export function encodeColumn({ ends, text }: Column, tag: Buffer): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32LE(ends.length);
  return Buffer.concat([tag, count, Buffer.from(ends.buffer, ends.byteOffset, ends.byteLength), text]);
}

/** undefined for what is no column of that segment: one half of a write that a crash cut in two. */
export function decodeColumn(bytes: Buffer | undefined, tag: Buffer, rows: number): Column | undefined {
  const head = tagBytes + 4;
  if (bytes === undefined || bytes.length < head + rows * 4 || !bytes.subarray(0, tagBytes).equals(tag))
    return undefined;
  if (bytes.readUInt32LE(tagBytes) !== rows) return undefined;
  // A copy, as numbers have to begin at a multiple of four.
  const ends = new Uint32Array(Uint8Array.prototype.slice.call(bytes, head, head + rows * 4).buffer);
  const text = bytes.subarray(head + rows * 4);
  return ends.at(-1) === text.length ? { ends, text } : undefined;
}
