import { setImmediate as turn } from 'node:timers/promises';
import { sliceBytes } from './slices.ts';

/** How base64 text is broken into lines: enough to write it again, byte for byte. */
export interface Base64Form {
  /** Characters in every line but the last. */
  readonly width: number;
  readonly eol: '\r\n' | '\n';
}

export interface Base64Data {
  /** Where the text lies in the bytes looked at; what stands before and behind it is not part of it. */
  readonly start: number;
  readonly end: number;
  readonly decoded: Uint8Array;
  readonly form: Base64Form;
}

const lf = 10;
const cr = 13;

function isBase64(byte: number): boolean {
  return (
    (byte >= 65 && byte <= 90) || // A-Z
    (byte >= 97 && byte <= 122) || // a-z
    (byte >= 47 && byte <= 57) || // "/", 0-9
    byte === 43 || // +
    byte === 61 // =
  );
}

/** Octets of the text that {@link writeBase64} makes of `size` octets. */
export function base64Length(size: number, form: Base64Form): number {
  return lengthOf(Math.ceil(size / 3) * 4, form);
}

/** Octets of the first so many characters with the line ends between them. */
function lengthOf(characters: number, { width, eol }: Base64Form): number {
  return characters + Math.max(Math.ceil(characters / width) - 1, 0) * eol.length;
}

// Three octets are four characters, so that slices of the data are slices of the text.
const dataPerSlice = (sliceBytes / 4) * 3;

/** The base64 text of `bytes` in lines of that form, without a line end after the last: slice by slice, each made when it is asked for. */
export function* writeBase64(bytes: Uint8Array, form: Base64Form): Generator<Uint8Array> {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < view.length; at += dataPerSlice) yield textAt(view, at, form);
}

/** The text of one slice of the data: of what begins at `at`, which is a multiple of three. */
function textAt(data: Buffer, at: number, form: Base64Form): Buffer {
  const characters = Buffer.from(data.toString('base64', at, Math.min(at + dataPerSlice, data.length)), 'latin1');
  const before = (at / 3) * 4;
  if (before + characters.length <= form.width) return characters;
  const out = Buffer.allocUnsafe(lengthOf(before + characters.length, form) - lengthOf(before, form));
  const crlf = form.eol.length === 2;
  let to = 0;
  let column = before % form.width;
  for (let from = 0; from < characters.length; ) {
    if (column === 0 && before + from > 0) {
      if (crlf) out[to++] = cr;
      out[to++] = lf;
    }
    const copied = characters.copy(out, to, from, from + form.width - column);
    from += copied;
    to += copied;
    column = 0;
  }
  return out;
}

function formOf(text: Buffer): Base64Form {
  const end = text.indexOf(lf);
  if (end < 0) return { width: Math.max(text.length, 1), eol: '\r\n' };
  return text[end - 1] === cr ? { width: Math.max(end - 1, 1), eol: '\r\n' } : { width: Math.max(end, 1), eol: '\n' };
}

/**
 * The data in a base64 body if it is written in one regular form, so that {@link writeBase64} gives the very same octets; undefined for
 * anything else (odd lines, other characters, non-zero padding bits): such a body is only safe as it is. Linear; yields to the event loop.
 */
export async function readBase64(bytes: Uint8Array): Promise<Base64Data | undefined> {
  let start = 0;
  let end = bytes.length;
  while (start < end && !isBase64(bytes[start] ?? 0)) start += 1;
  while (end > start && !isBase64(bytes[end - 1] ?? 0)) end -= 1;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
  const form = formOf(text);
  const lines = Math.ceil((text.length + form.eol.length) / (form.width + form.eol.length));
  const characters = text.length - (lines - 1) * form.eol.length;
  if (characters % 4 !== 0 || lengthOf(characters, form) !== text.length) return undefined;
  const data = Buffer.allocUnsafeSlow((characters / 4) * 3);
  let length = 0;
  for (let from = 0; from < characters; from += sliceBytes) {
    const at = (from / 4) * 3;
    // Padding anywhere but at the end leaves a slice with less than its share.
    if (length !== at) return undefined;
    if (from > 0) await turn();
    const slice = text.subarray(lengthOf(from, form), lengthOf(Math.min(from + sliceBytes, characters), form));
    length += data.write(slice.toString('latin1'), at, 'base64');
    if (!slice.equals(textAt(data.subarray(0, length), at, form))) return undefined;
  }
  return { start, end, decoded: data.subarray(0, length), form };
}
