import { bodyStructure } from './body-structure.ts';
import { envelope } from './envelope.ts';
import { type Part, parseStructure } from './structure.ts';

/** Larger messages are outlined when somebody reads them: beyond, parsing takes more than some milliseconds. */
export const outlinedBytes = 1024 * 1024;

/** What lists of messages and searches in headers need of one message, so that they do not read it: kept by the folder as opaque octets. */
export interface Outline {
  /** The header with the empty line that ends it. */
  readonly header: Buffer;
  /** As FETCH shows them. */
  readonly envelope: string;
  readonly body: string;
  readonly bodyStructure: string;
}

// Another one when what FETCH shows of the same message changes: outlines of the old form are made anew then.
const version = 1;
const headBytes = 17;

/** The outline of a message. Linear; never throws. */
export function outlineOf(message: Buffer, top: Part = parseStructure(message)): Outline {
  return {
    header: message.subarray(top.header.start, top.header.end),
    envelope: envelope(message, top.fields),
    body: bodyStructure(message, top, false),
    bodyStructure: bodyStructure(message, top, true),
  };
}

export function encodeOutline(outline: Outline): Buffer {
  const texts = [outline.envelope, outline.body, outline.bodyStructure].map((text) => Buffer.from(text, 'latin1'));
  const head = Buffer.alloc(headBytes);
  head.writeUInt8(version);
  [outline.header, ...texts].forEach((part, index) => head.writeUInt32BE(part.length, 1 + index * 4));
  return Buffer.concat([head, outline.header, ...texts]);
}

/** undefined for what {@link encodeOutline} does not make now. */
export function decodeOutline(bytes: Buffer | undefined): Outline | undefined {
  if (bytes === undefined || bytes.length < headBytes || bytes[0] !== version) return undefined;
  const ends: number[] = [];
  let end = headBytes;
  for (let part = 0; part < 4; part += 1) ends.push((end += bytes.readUInt32BE(1 + part * 4)));
  const [header = 0, shown = 0, body = 0, structure = 0] = ends;
  if (structure !== bytes.length) return undefined;
  // As strings only when asked for: lists of messages want the header, or the rest.
  return {
    header: bytes.subarray(headBytes, header),
    get envelope() {
      return bytes.toString('latin1', header, shown);
    },
    get body() {
      return bytes.toString('latin1', shown, body);
    },
    get bodyStructure() {
      return bytes.toString('latin1', body, structure);
    },
  };
}
