/** One header field as it lies in the message: byte offsets, nothing copied. */
export interface HeaderField {
  /** Lower case, without the white space that some writers put before the colon. Empty where there is no colon. */
  readonly name: string;
  readonly start: number;
  /** First byte after the colon. */
  readonly valueStart: number;
  /** First byte after the field's last line end. */
  readonly end: number;
  /** Not written as RFC 5322 §2.2 wants it (space before the colon, a folded or indented name): readers disagree on it. */
  readonly odd: boolean;
}

export interface HeaderBlock {
  readonly fields: readonly HeaderField[];
  /** Where the empty line begins that ends the block; the length of the message if there is none. */
  readonly end: number;
  /** Where lines begin that some readers take for the end of the block: without a colon, or of white space only. */
  readonly strays: readonly number[];
}

const CR = 13;
const LF = 10;
const colon = 58;
const isSpace = (byte: number | undefined): boolean => byte === 32 || byte === 9;
// RFC 5322 §2.2: printable US-ASCII except colon.
const isNameByte = (byte: number): boolean => byte > 32 && byte < 127 && byte !== colon;

/**
 * The fields of a message's header block, in one pass. Lines end in CRLF, or in LF where a message was not taken from
 * the wire. Goes on behind stray lines up to the first empty line, so that a field cannot hide behind one.
 */
export function readHeaderBlock(bytes: Uint8Array): HeaderBlock {
  const fields: HeaderField[] = [];
  const strays: number[] = [];
  let at = 0;
  while (at < bytes.length && !isEmptyLine(bytes, at)) {
    const lineEnd = endOfLine(bytes, at);
    let end = lineEnd;
    while (end < bytes.length && isSpace(bytes[end])) {
      const next = endOfLine(bytes, end);
      if (isBlank(bytes, end, next)) strays.push(end);
      end = next;
    }
    const field = readField(bytes, at, lineEnd, end);
    if (field.stray) strays.push(at);
    fields.push(field.field);
    at = end;
  }
  return { fields, end: at, strays };
}

function readField(
  bytes: Uint8Array,
  start: number,
  lineEnd: number,
  end: number,
): { field: HeaderField; stray: boolean } {
  const at = bytes.subarray(start, end).indexOf(colon);
  if (at < 0) return { field: { name: '', start, valueStart: end, end, odd: true }, stray: true };
  const written = bytes.subarray(start, start + at);
  const plain = written.length > 0 && written.every(isNameByte);
  // Compared without anything that is not a name byte: "From :", " From:" and "From\r\n :" are From to some reader.
  const name = latin1(plain ? written : written.filter(isNameByte)).toLowerCase();
  const spacedOnly = !plain && written.length > 0 && isNameByte(written[0] ?? 0) && isSpacedName(written);
  const stray = start + at >= lineEnd || !(plain || spacedOnly);
  return { field: { name, start, valueStart: start + at + 1, end, odd: !plain }, stray };
}

function latin1({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('latin1');
}

/** A name followed by white space only, which RFC 5322 §4.5 lets readers expect before the colon. */
function isSpacedName(written: Uint8Array): boolean {
  let last = written.length;
  while (last > 0 && isSpace(written[last - 1])) last -= 1;
  return written.subarray(0, last).every(isNameByte);
}

function endOfLine(bytes: Uint8Array, from: number): number {
  const at = bytes.indexOf(LF, from);
  return at < 0 ? bytes.length : at + 1;
}

function isEmptyLine(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === LF || (bytes[at] === CR && bytes[at + 1] === LF);
}

function isBlank(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at];
    if (!isSpace(byte) && byte !== CR && byte !== LF) return false;
  }
  return true;
}

/** A field's value as text: unfolded, trimmed, read as UTF-8 with replacement characters, at most `maxChars` long. */
export function fieldText(bytes: Uint8Array, field: HeaderField, maxChars: number): string {
  // Four octets at the most for one character, and room for what unfolding takes away.
  const value = bytes.subarray(field.valueStart, Math.min(field.end, field.valueStart + maxChars * 5));
  const text = Buffer.from(value).toString('utf8');
  return text
    .replace(/\r?\n(?=[ \t])/g, '')
    .replace(/\r?\n$/, '')
    .trim()
    .slice(0, maxChars);
}
