import { type Field, type Range, readFields } from '../../header/fields.ts';
import type { Part } from './structure.ts';

/** A section specification (RFC 3501 §6.4.5): which octets of a message BODY[…] means. */
export interface Section {
  /** Part numbers, from 1; empty for the message itself. */
  readonly path: readonly number[];
  readonly text:
    | { readonly kind: 'all' | 'header' | 'text' | 'mime' }
    | { readonly kind: 'fields'; readonly not: boolean; readonly names: readonly string[] };
}

export interface Partial {
  readonly offset: number;
  readonly count: number;
}

/** The octets of the section, or undefined where the message has no such part. Copies only what header fields are picked out. */
export function sectionBytes(message: Buffer, top: Part, section: Section): Buffer | undefined {
  if (section.path.length === 0) {
    if (section.text.kind === 'all') return message;
    return ofMessage(message, top, section.text);
  }
  const part = partAt(top, section.path);
  if (part === undefined) return undefined;
  if (section.text.kind === 'all') return slice(message, part.body);
  if (section.text.kind === 'mime') return slice(message, part.header);
  return part.content.kind === 'message' ? ofMessage(message, part.content.message, section.text) : undefined;
}

/** RFC 3501 §6.4.5: `<offset.count>` beyond the end gives what there is, also nothing. */
export function partialOf(bytes: Buffer, partial: Partial | undefined): Buffer {
  return partial === undefined ? bytes : bytes.subarray(partial.offset, partial.offset + partial.count);
}

function ofMessage(message: Buffer, part: Part, text: Section['text']): Buffer | undefined {
  switch (text.kind) {
    case 'header':
      return slice(message, part.header);
    case 'text':
      return slice(message, part.body);
    case 'fields':
      return pickedFields(message, part.fields, text);
    default:
      return undefined;
  }
}

/** The part of that number; the message itself for no number. */
export function partOf(top: Part, path: readonly number[]): Part | undefined {
  return path.length === 0 ? top : partAt(top, path);
}

/** The part of that number. A message that is no multipart has itself as part 1. */
function partAt(top: Part, path: readonly number[]): Part | undefined {
  let part = childOf(top, path[0] ?? 0);
  for (const number of path.slice(1)) {
    if (part === undefined) return undefined;
    if (part.content.kind === 'leaf') return undefined;
    part = childOf(part.content.kind === 'message' ? part.content.message : part, number);
  }
  return part;
}

function childOf(container: Part, number: number): Part | undefined {
  if (container.content.kind === 'multipart') return container.content.parts[number - 1];
  return number === 1 ? container : undefined;
}

interface Wanted {
  readonly not: boolean;
  readonly names: readonly string[];
}

/** BODY[HEADER.FIELDS (…)] where the header is at hand: the same as of the whole message. */
export function headerFields(header: Buffer, wanted: Wanted): Buffer {
  return pickedFields(header, readFields(header, { start: 0, end: header.length }), wanted);
}

function pickedFields(message: Buffer, fields: readonly Field[], wanted: Wanted): Buffer {
  const names = new Set(wanted.names.map((name) => name.toLowerCase()));
  const picked = fields
    .filter((field) => names.has(field.name) !== wanted.not)
    .map((field: Field) => slice(message, field));
  // The empty line is part of what is given; a header that ends without one gets it all the same.
  return Buffer.concat([...picked, Buffer.from('\r\n')]);
}

function slice(message: Buffer, range: Range): Buffer {
  return message.subarray(range.start, range.end);
}
