/** One header field by its byte range; nothing of it is copied until asked for. */
export interface Field {
  /** Lower case. */
  readonly name: string;
  readonly start: number;
  readonly valueStart: number;
  /** After its line end. */
  readonly end: number;
}

export interface Range {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

// DESIGN §14 takes 1,000 from strangers; the owner may have appended worse, and it must not cost a gigabyte of objects.
const maxFields = 10_000;
const maxNameBytes = 200;
// DESIGN §14: a whole header block; a value shown in an ENVELOPE is never longer.
const maxValueBytes = 256 * 1024;

/**
 * The fields of a header block that has no empty line in it. Lines that are no field (no colon) are passed over with
 * their continuation lines. With `only`, fields of other names may be passed over too: a search looks at one of each of 100,000 headers.
 * Linear; never throws.
 */
export function readFields(bytes: Buffer, range: Range, only?: string): readonly Field[] {
  const initial = only?.charCodeAt(0);
  const fields: Field[] = [];
  let open: Omit<Field, 'end'> | undefined;
  let line = range.start;
  while (line < range.end && fields.length < maxFields) {
    const next = lineAfter(bytes, line, range.end);
    if (!isBlank(bytes[line])) {
      if (open !== undefined) fields.push({ ...open, end: line });
      const here = bytes[line] ?? 0;
      const meant = initial === undefined || here === initial || (here | 0x20) === initial;
      open = meant ? fieldAt(bytes, line, next) : undefined;
    }
    line = next;
  }
  if (open !== undefined && fields.length < maxFields) fields.push({ ...open, end: line });
  return fields;
}

function fieldAt(bytes: Buffer, start: number, end: number): Omit<Field, 'end'> | undefined {
  const colon = bytes.subarray(start, Math.min(end, start + maxNameBytes)).indexOf(0x3a);
  if (colon <= 0) return undefined;
  // RFC 5322 §4.5.8: blanks before the colon are obsolete, and still seen.
  const name = bytes
    .toString('latin1', start, start + colon)
    .trimEnd()
    .toLowerCase();
  return /^[\x21-\x7e]+$/.test(name) ? { name, start, valueStart: start + colon + 1 } : undefined;
}

/** Where the line after the one at `from` begins. */
export function lineAfter(bytes: Buffer, from: number, end: number): number {
  const found = bytes.indexOf(0x0a, from);
  return found === -1 || found >= end ? end : found + 1;
}

export function isBlank(code: number | undefined): boolean {
  return code === 0x20 || code === 0x09;
}

/** The value unfolded (RFC 5322 §2.2.3), without blanks at its ends and without NUL, in latin1. */
export function fieldValue(bytes: Buffer, field: Field): string {
  const end = Math.min(field.end, field.valueStart + maxValueBytes);
  return bytes
    .toString('latin1', field.valueStart, end)
    .replace(/[\r\n]+/g, '')
    .replaceAll('\0', ' ')
    .trim();
}

/** The first field of that name, unfolded. */
export function firstValue(bytes: Buffer, fields: readonly Field[], name: string): string | undefined {
  const field = fields.find((field) => field.name === name);
  return field === undefined ? undefined : fieldValue(bytes, field);
}
