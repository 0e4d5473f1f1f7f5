import { firstValue } from '../../header/fields.ts';
import { parameter } from './content-type.ts';
import type { Part } from './structure.ts';
import { quotedPrintable } from './transfer-encoding.ts';

// SEARCH TEXT looks at what a person could have read; no more of one part than this is decoded for it.
const maxDecodedBytes = 2 * 1024 * 1024;

/** Every text leaf of the part, decoded to Unicode as far as its encoding and charset are known. */
export function* readableTexts(message: Buffer, part: Part): Generator<string> {
  if (part.content.kind === 'multipart') {
    for (const child of part.content.parts) yield* readableTexts(message, child);
  } else if (part.content.kind === 'message') {
    const { header } = part.content.message;
    yield decodeWords(message.toString('latin1', header.start, Math.min(header.end, header.start + maxDecodedBytes)));
    yield* readableTexts(message, part.content.message);
  } else if (part.type.type === 'text' || part.type.type === 'message') {
    yield decodeText(leafBytes(message, part), parameter(part.type, 'charset') ?? 'utf-8');
  }
}

function leafBytes(message: Buffer, part: Part): Buffer {
  const raw = message.subarray(part.body.start, Math.min(part.body.end, part.body.start + maxDecodedBytes));
  const encoding = (firstValue(message, part.fields, 'content-transfer-encoding') ?? '').toLowerCase();
  if (encoding === 'base64') return Buffer.from(raw.toString('latin1'), 'base64');
  if (encoding === 'quoted-printable') return quotedPrintable(raw.toString('latin1'));
  return raw;
}

function decodeText(bytes: Uint8Array, charset: string): string {
  try {
    // The web's "us-ascii" is windows-1252; octets above 127 in mail that claims ASCII are nearly always UTF-8.
    return new TextDecoder(/^(us-)?ascii$/i.test(charset) ? 'utf-8' : charset).decode(bytes);
  } catch {
    // A charset nobody knows: the ASCII in it can still be found.
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  }
}

const encodedWord = /=\?([^?\s]{1,60})\?([bq])\?([^?\s]{0,1000})\?=/gi;

/** RFC 2047 encoded words made readable; octets above 127 are taken as UTF-8. The text is latin1. */
export function decodeWords(latin1: string): string {
  const joined = latin1.replace(/(\?=)[ \t\r\n]{1,100}(?==\?)/g, '$1');
  const raw = /[\x80-\xff]/.test(joined) ? Buffer.from(joined, 'latin1').toString('utf8') : joined;
  return raw.replace(encodedWord, (_, charset: string, encoding: string, text: string) => {
    const bytes =
      encoding.toLowerCase() === 'b' ? Buffer.from(text, 'base64') : quotedPrintable(text.replaceAll('_', ' '));
    return decodeText(bytes, charset.split('*')[0] ?? charset);
  });
}
