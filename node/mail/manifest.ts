import { hash as hashOf } from 'node:crypto';
import { decode, encode } from '@ipld/dag-cbor';
import type { ContentRef } from '../store/content.ts';
import { type Base64Form, base64Length, writeBase64 } from './base64-form.ts';
import { MailFault } from './fault.ts';
import { maxMessageBytes, packContentRef, packedContentRefBytes, unpackContentRef } from './message-ref.ts';
import { slicesOf } from './slices.ts';

/** A piece of a message: octets as they are, or a leaf part that lies in its own content. */
export type Segment =
  | { readonly kind: 'literal'; readonly bytes: Uint8Array }
  | { readonly kind: 'leaf'; readonly ref: ContentRef; readonly form?: Base64Form | undefined };

// Twice the parts of a message (DESIGN §14: 1,000), for the literals between them, and one behind the last.
const maxSegments = 2_001;

/** The skeleton of a message: its segments in order. */
export function encodeManifest(segments: readonly Segment[]): Uint8Array {
  return encode({ v: 1, segments: segments.map(rowOf) });
}

function rowOf(segment: Segment): unknown {
  if (segment.kind === 'literal') return segment.bytes;
  const packed = packContentRef(segment.ref);
  return segment.form === undefined ? [packed] : [packed, segment.form.width, segment.form.eol === '\r\n' ? 2 : 1];
}

/** Throws MailFault `damaged` unless the segments are well formed and make exactly `size` octets: a lie about sizes costs nothing. */
export function decodeManifest(bytes: Uint8Array, size: number): readonly Segment[] {
  const rows = rowsOf(bytes);
  if (rows.length > maxSegments) throw new MailFault('damaged', `a message of ${rows.length} segments`);
  const segments = rows.map(segmentOf);
  const length = segments.reduce((sum, segment) => sum + segmentLength(segment), 0);
  if (length !== size) throw new MailFault('damaged', `a manifest of ${length} octets where ${size} are due`);
  return segments;
}

// The canonical octets (RFC 8949 §4.2) of a map of `v`: 1 and `segments`: an array of one string of 256 to 65,535 octets, up to its length: most mail.
const oneLiteral = Buffer.concat([
  Buffer.of(0xa2, 0x61, 0x76, 0x01, 0x68),
  Buffer.from('segments'),
  Buffer.of(0x81, 0x59),
]);

/** The message where the manifest is nothing but one literal of that form; else undefined, and it is decoded. */
function onlyLiteral(bytes: Uint8Array): Uint8Array | undefined {
  const view = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = oneLiteral.length + 2;
  if (view.length < start + 256 || view.compare(oneLiteral, 0, oneLiteral.length, 0, oneLiteral.length) !== 0)
    return undefined;
  return view.readUInt16BE(oneLiteral.length) === view.length - start ? bytes.subarray(start) : undefined;
}

function rowsOf(bytes: Uint8Array): readonly unknown[] {
  const literal = onlyLiteral(bytes);
  if (literal !== undefined) return [literal];
  let value: unknown;
  try {
    value = decode(bytes);
  } catch (cause) {
    throw new MailFault('damaged', 'a message manifest is not DAG-CBOR', cause);
  }
  const fields = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  if (fields['v'] !== 1 || !Array.isArray(fields['segments']))
    throw new MailFault('damaged', 'not a message manifest of a known version');
  return fields['segments'];
}

function segmentOf(row: unknown): Segment {
  if (row instanceof Uint8Array) return { kind: 'literal', bytes: row };
  if (!Array.isArray(row)) throw new MailFault('damaged', 'a segment is neither octets nor a reference');
  const [packed, width, eol] = row as readonly unknown[];
  if (!(packed instanceof Uint8Array) || packed.length !== packedContentRefBytes)
    throw new MailFault('damaged', 'a segment without a reference');
  const ref = unpackContentRef(packed);
  if (row.length === 1) return { kind: 'leaf', ref };
  const sound = Number.isSafeInteger(width) && typeof width === 'number' && width >= 1 && width <= maxMessageBytes;
  if (row.length !== 3 || !sound || (eol !== 1 && eol !== 2))
    throw new MailFault('damaged', 'a base64 form of another shape');
  return { kind: 'leaf', ref, form: { width, eol: eol === 2 ? '\r\n' : '\n' } };
}

/** Octets in the message. */
export function segmentLength(segment: Segment): number {
  if (segment.kind === 'literal') return segment.bytes.length;
  return segment.form === undefined ? segment.ref.size : base64Length(segment.ref.size, segment.form);
}

/** The octets a segment stands for, slice by slice; `leaf` is the content of its reference. */
export function segmentSlices(segment: Segment, leaf: Uint8Array | undefined): Iterable<Uint8Array> {
  if (segment.kind === 'literal') return slicesOf(segment.bytes);
  if (leaf === undefined) throw new MailFault('damaged', 'a leaf part was not handed in');
  return segment.form === undefined ? slicesOf(leaf) : writeBase64(leaf, segment.form);
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return hashOf('sha256', bytes, 'buffer');
}
