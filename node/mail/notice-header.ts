// Enough for any real header block; a notice is not a way to send somebody a large message.
const maxHeaderOctets = 64 * 1024;
// RFC 5322 §2.1.1: 998 without the line end.
const maxLineOctets = 998;
// A reply of the other side may be long and in many lines; the beginning says what happened.
const maxTextLength = 900;

export const lineEnd = '\r\n';

/** One line of printable ASCII: what strangers wrote can neither break out of its field nor say anything to a terminal. */
export function ascii(text: string, max = maxTextLength): string {
  return text
    .slice(0, max)
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[^ -~]+/g, '?')
    .trim();
}

/** The header block alone, with CRLF, bounded at a line; never a line of the body. */
export function headerBlock(original: Uint8Array): Buffer {
  const bounded = Buffer.from(original.buffer, original.byteOffset, Math.min(original.length, maxHeaderOctets));
  const lines = bounded.toString('latin1').split(/\r\n|\r|\n/);
  const empty = lines.indexOf('');
  // Cut in the middle, the last line is not whole.
  const whole = original.length > maxHeaderOctets ? lines.slice(0, -1) : lines;
  const kept = (empty < 0 ? whole : lines.slice(0, empty)).map((line) =>
    line.slice(0, maxLineOctets).replaceAll('\0', '?'),
  );
  return Buffer.from(kept.map((line) => line + lineEnd).join(''), 'latin1');
}

/** The values of all fields of that name (lower case), unfolded, as they stand there (UTF-8); empty ones left out. */
export function fieldsOf(header: Buffer, name: string): readonly string[] {
  const values: string[] = [];
  let isIt = false;
  for (const line of header.toString().split(lineEnd)) {
    if (/^[ \t]/.test(line)) {
      if (isIt) values.push((values.pop() ?? '') + line);
      continue;
    }
    isIt = line.toLowerCase().startsWith(`${name}:`);
    if (isIt) values.push(line.slice(name.length + 1));
  }
  return values.map((value) => value.trim()).filter((value) => value !== '');
}

/** The first of them. */
export function fieldOf(header: Buffer, name: string): string | undefined {
  return fieldsOf(header, name)[0];
}

const encodedWord = /=\?([\w-]{1,40})(?:\*[\w-]{1,20})?\?([bq])\?([^?\s]{0,200})\?=/gi;

/** Text of a field for people: encoded words read (RFC 2047), control characters out. What cannot be read stays as it is. */
export function readable(value: string): string {
  const text = value.slice(0, maxTextLength).replaceAll(/\?=[ \t]+=\?/g, '?==?');
  return text.replaceAll(encodedWord, decodeWord).replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ');
}

function decodeWord(word: string, charset: string, encoding: string, data: string): string {
  const octets =
    encoding.toLowerCase() === 'b'
      ? Buffer.from(data, 'base64')
      : Buffer.from(
          data
            .replaceAll('_', ' ')
            .replaceAll(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
          'latin1',
        );
  try {
    return new TextDecoder(charset).decode(octets);
  } catch {
    return word;
  }
}
