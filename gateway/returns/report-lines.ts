/** Lines and blocks of header fields, for reading what other systems wrote. Forgiving, linear, bounded. */

/** Fields of one block by name in lower case, unfolded; of those that stand more than once, the first. */
export type TextBlock = ReadonlyMap<string, string>;

export interface ReadBlock {
  readonly fields: TextBlock;
  /** The line behind the empty one that ends the block. */
  readonly next: number;
}

// What is longer is not for people, nor a field that we read.
const maxFieldChars = 4_000;
const maxFields = 500;

/** One character an octet; any line end. */
export function latinLines(bytes: Uint8Array): string[] {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    .toString('latin1')
    .split(/\r\n|\n|\r/);
}

/** The block of fields that begins at a line, up to the next empty line. */
export function readBlock(lines: readonly string[], from: number): ReadBlock {
  const fields = new Map<string, string>();
  let name: string | undefined;
  let at = from;
  for (; at < lines.length; at++) {
    const line = lines[at] ?? '';
    if (line.trim() === '') break;
    if (/^[ \t]/.test(line)) {
      if (name === undefined) continue;
      const value = fields.get(name) ?? '';
      if (value.length < maxFieldChars) fields.set(name, `${value} ${line.trim()}`.slice(0, maxFieldChars));
      continue;
    }
    const colon = line.indexOf(':');
    const word = colon < 1 ? '' : line.slice(0, colon).trim().toLowerCase();
    name = word === '' || fields.has(word) || fields.size >= maxFields ? undefined : word;
    if (name !== undefined)
      fields.set(
        name,
        line
          .slice(colon + 1)
          .trim()
          .slice(0, maxFieldChars),
      );
  }
  return { fields, next: Math.min(at + 1, lines.length) };
}

/** A line between the parts of a MIME message (RFC 2046 §5.1.1), whatever the boundary is. */
export function isBoundary(line: string): boolean {
  return line.startsWith('--') && line.length > 2 && line !== '-- ';
}
