import { setImmediate as turn } from 'node:timers/promises';
import { firstValue, type Range } from '../../header/fields.ts';
import { type Part, parseStructure } from './structure.ts';

/** A header field to write anew, or a body to encode. */
type Edit = { readonly range: Range; readonly field: string | undefined };

// Whole lines; some milliseconds of work between turns of the event loop.
const sliceBytes = 57 * 16_384;

/**
 * The message with every part that is marked `binary` and has NUL octets in it encoded as base64 (RFC 3516 §4.4): BODY[] cannot show a NUL
 * (RFC 3501 §4.3). Any other message comes back as it is, the same object.
 */
export async function withoutBinary(message: Buffer): Promise<Buffer> {
  if (!message.includes(0)) return message;
  const edits: Edit[] = [];
  collect(message, parseStructure(message), edits);
  if (edits.length === 0) return message;
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const { range, field } of edits) {
    pieces.push(message.subarray(at, range.start));
    if (field !== undefined) pieces.push(Buffer.from(field, 'latin1'));
    else await encode(message.subarray(range.start, range.end), pieces);
    at = range.end;
  }
  return Buffer.concat([...pieces, message.subarray(at)]);
}

/** In the order of the message. */
function collect(message: Buffer, part: Part, edits: Edit[]): void {
  const field = part.fields.find(({ name }) => name === 'content-transfer-encoding');
  const marked = firstValue(message, part.fields, 'content-transfer-encoding')?.trim().toLowerCase() === 'binary';
  const leaf = part.content.kind === 'leaf';
  const encodes = leaf && message.subarray(part.body.start, part.body.end).includes(0);
  if (field !== undefined && marked && (encodes || !leaf)) {
    edits.push({ range: field, field: `Content-Transfer-Encoding: ${encodes ? 'base64' : '8bit'}\r\n` });
    if (encodes) edits.push({ range: part.body, field: undefined });
  }
  if (part.content.kind === 'multipart') for (const child of part.content.parts) collect(message, child, edits);
  if (part.content.kind === 'message') collect(message, part.content.message, edits);
}

/** RFC 2045 §6.8: lines of 76. */
async function encode(bytes: Buffer, into: Uint8Array[]): Promise<void> {
  for (let at = 0; at < bytes.length; at += sliceBytes) {
    const text = bytes.toString('base64', at, Math.min(at + sliceBytes, bytes.length)).replace(/.{76}/g, '$&\r\n');
    into.push(Buffer.from(text, 'latin1'));
    await turn();
  }
}
