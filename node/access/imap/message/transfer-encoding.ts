import { setImmediate as turn } from 'node:timers/promises';
import { firstValue } from '../../header/fields.ts';
import { partOf } from './section.ts';
import type { Part } from './structure.ts';

// Some milliseconds of work between turns of the event loop; ends at a line end.
const sliceBytes = 1024 * 1024;

/**
 * A part's content with its transfer encoding undone (RFC 3516 §4.2, RFC 2045 §6). A multipart or an embedded message has none and comes as it is;
 * undefined where there is no such part.
 */
export async function decodedPart(
  message: Buffer,
  top: Part,
  path: readonly number[],
): Promise<Buffer | undefined | 'unknown-encoding'> {
  const part = partOf(top, path);
  if (part === undefined) return undefined;
  if (path.length === 0) return message;
  const body = message.subarray(part.body.start, part.body.end);
  if (part.content.kind !== 'leaf') return body;
  const encoding = firstValue(message, part.fields, 'content-transfer-encoding')?.trim().toLowerCase() ?? '7bit';
  switch (encoding) {
    case '7bit':
    case '8bit':
    case 'binary':
    case '':
      return body;
    case 'base64':
      return await inSlices(body, (text) => Buffer.from(text, 'base64'));
    case 'quoted-printable':
      return await inSlices(body, quotedPrintable);
    default:
      return 'unknown-encoding';
  }
}

async function inSlices(body: Buffer, decode: (latin1: string) => Buffer): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let at = 0; at < body.length; ) {
    const lineEnd = body.lastIndexOf(0x0a, at + sliceBytes);
    const end = body.length - at <= sliceBytes ? body.length : lineEnd > at ? lineEnd + 1 : at + sliceBytes;
    pieces.push(decode(body.toString('latin1', at, end)));
    at = end;
    if (at < body.length) await turn();
  }
  return Buffer.concat(pieces);
}

/** RFC 2045 §6.7, leniently: what is no escape stands for itself; blanks before a line end are the transport's. */
export function quotedPrintable(text: string): Buffer {
  const unfolded = text.replace(/[ \t]{1,80}(?=\r?\n)/g, '').replace(/=\r?\n/g, '');
  const decoded = unfolded.replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(decoded, 'latin1');
}
