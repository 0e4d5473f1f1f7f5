import { setImmediate as turn } from 'node:timers/promises';
import {
  type Column,
  cellOf,
  decodeColumn,
  encodeColumn,
  mark,
  searchColumn,
  type TextColumn,
  type Texts,
  tagOf,
  textColumns,
  type Wanted,
} from './text-columns.ts';

/** Whether a message matches, by its `contentKey`; undefined where that is not known from here. */
export type Found = (contentKey: string) => boolean | undefined;

/** Where the columns lie: sealed, and gone when it likes. */
export interface TextShelf {
  get(name: string): Buffer | undefined;
  put(name: string, bytes: Uint8Array, maxBytes: number): void;
}

// 100 segments for 100,000 messages: few enough that each costs little beside the text in it.
const rowsPerSegment = 1_024;
// A segment of very long headers is closed before it has them all.
const bytesPerSegment = 1024 * 1024;
// The text, the last cells, and where the rows end.
const maxColumnBytes = bytesPerSegment + 64 * 1024;
// A key and what the map needs for it take some 80 octets: 40 MB at most. Beyond, searches read.
const maxRows = 500_000;
const keyBytes = 16;
// So many segments are searched in one turn of the event loop, at some 0.1 ms each.
const segmentsPerTurn = 16;
// The segment that is not full, as it was when the mailbox was closed.
const tailName = 'tail';

interface Segment {
  readonly rows: number;
  readonly tag: Buffer;
}

/** The segment that still grows. */
class Tail {
  readonly keys: string[] = [];
  readonly #columns = new Map<TextColumn, { ends: number[]; parts: Buffer[] }>(
    textColumns.map((name) => [name, { ends: [], parts: [] }]),
  );
  bytes = 0;

  add(key: string, cellIn: (name: TextColumn) => Buffer): void {
    this.keys.push(key);
    for (const [name, { ends, parts }] of this.#columns) {
      const cell = cellIn(name);
      parts.push(cell);
      ends.push((ends.at(-1) ?? 0) + cell.length);
      this.bytes += cell.length;
    }
  }

  get full(): boolean {
    return this.keys.length >= rowsPerSegment || this.bytes >= bytesPerSegment;
  }

  column(name: TextColumn): Column {
    const column = this.#columns.get(name);
    const text = Buffer.concat(column?.parts ?? []);
    if (column !== undefined) column.parts = [text];
    return { ends: Uint32Array.from(column?.ends ?? []), text };
  }
}

/**
 * The texts that searches in headers look at, column by column and some thousand messages in a segment, so that a search reads what it looks for and nothing
 * else. A message is named by its content, so copies share a row. On the disk they are sealed; in memory are the keys, and what has come since
 * the last full segment. A cache: what a crash loses, or was never put, is put by whoever reads the message next.
 */
export class MessageTexts {
  readonly #shelf: TextShelf;
  /** Key to row, over all segments; undefined until something is asked. */
  #rows: Map<string, number> | undefined;
  /** The full ones, in order. */
  readonly #segments: Segment[] = [];
  /** Rows in them. */
  #full = 0;
  #tail = new Tail();
  /** Whether the tail has what the disk has not. */
  #changed = false;

  constructor(shelf: TextShelf) {
    this.#shelf = shelf;
  }

  has(contentKey: string): boolean {
    return this.#opened().has(contentKey);
  }

  put(contentKey: string, texts: Texts): void {
    const rows = this.#opened();
    if (contentKey.length !== keyBytes || rows.size >= maxRows || rows.has(contentKey)) return;
    this.#tail.add(contentKey, (name) => cellOf(texts[name]));
    rows.set(contentKey, this.#full + this.#tail.keys.length - 1);
    this.#changed = true;
    if (this.#tail.full) this.#begin();
  }

  /** Rows that are put while it runs are not in what it finds. */
  async find(name: TextColumn, wanted: Wanted): Promise<Found> {
    const rows = this.#opened();
    const marks = new Uint8Array(this.#full + this.#tail.keys.length);
    const tail = this.#tail.column(name);
    const segments = [...this.#segments];
    let from = 0;
    for (const [number, segment] of segments.entries()) {
      const column = decodeColumn(this.#shelf.get(columnName(number, name)), segment.tag, segment.rows);
      if (column !== undefined) searchColumn(column, wanted, marks, from);
      from += segment.rows;
      if (number % segmentsPerTurn === segmentsPerTurn - 1) await turn();
    }
    searchColumn(tail, wanted, marks, from);
    return (key) => {
      const found = marks[rows.get(key) ?? marks.length] ?? mark.unknown;
      return found === mark.unknown ? undefined : found === mark.yes;
    };
  }

  /** Keeps what the last segment has for the next start. */
  close(): void {
    if (this.#changed) this.#save(tailName);
  }

  #begin(): void {
    const rows = this.#tail.keys.length;
    this.#segments.push({ rows, tag: this.#save(this.#segments.length) });
    this.#full += rows;
    this.#tail = new Tail();
  }

  #save(segment: number | typeof tailName): Buffer {
    const { keys } = this.#tail;
    const tag = tagOf(keys);
    for (const name of textColumns)
      this.#shelf.put(columnName(segment, name), encodeColumn(this.#tail.column(name), tag), maxColumnBytes);
    this.#shelf.put(columnName(segment, 'keys'), Buffer.from(keys.join(''), 'latin1'), maxColumnBytes);
    this.#changed = false;
    return tag;
  }

  #opened(): Map<string, number> {
    if (this.#rows !== undefined) return this.#rows;
    const rows = new Map<string, number>();
    this.#rows = rows;
    for (;;) {
      const keys = keysIn(this.#shelf.get(columnName(this.#segments.length, 'keys')));
      if (keys.length === 0) break;
      for (const [row, key] of keys.entries()) rows.set(key, this.#full + row);
      this.#segments.push({ rows: keys.length, tag: tagOf(keys) });
      this.#full += keys.length;
    }
    this.#restoreTail(rows);
    return rows;
  }

  #restoreTail(rows: Map<string, number>): void {
    const keys = keysIn(this.#shelf.get(columnName(tailName, 'keys')));
    const tag = tagOf(keys);
    const columns = new Map<TextColumn, Column>();
    for (const name of textColumns) {
      const column = decodeColumn(this.#shelf.get(columnName(tailName, name)), tag, keys.length);
      if (column === undefined) return;
      columns.set(name, column);
    }
    for (const [row, key] of keys.entries()) {
      // It became a full segment after it was kept.
      if (rows.has(key)) continue;
      this.#tail.add(key, (name) => cellIn(columns.get(name), row));
      rows.set(key, this.#full + this.#tail.keys.length - 1);
    }
  }
}

function cellIn(column: Column | undefined, row: number): Buffer {
  return column?.text.subarray(column.ends[row - 1] ?? 0, column.ends[row]) ?? Buffer.alloc(0);
}

function keysIn(bytes: Buffer | undefined): readonly string[] {
  const all = bytes?.toString('latin1') ?? '';
  return Array.from({ length: Math.floor(all.length / keyBytes) }, (_, n) =>
    all.slice(n * keyBytes, (n + 1) * keyBytes),
  );
}

// Another one when the texts of the same header become others.
const form = 1;

function columnName(segment: number | typeof tailName, column: TextColumn | 'keys'): string {
  return `texts${form}/${segment}/${column}`;
}
