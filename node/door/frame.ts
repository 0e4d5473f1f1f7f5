import { decode, encode } from '@ipld/dag-cbor';
import { DoorFault } from './fault.ts';

/** Three blocks of 65,000 bytes and what is around them; more would hold up what waits behind. */
export const maxFrameBytes = 256 * 1024;
const lengthBytes = 4;

/** A question, its answer, or why there is none. Numbers are the asker's; both sides ask. */
export type Frame =
  | { readonly kind: 'ask'; readonly number: number; readonly method: string; readonly value: unknown }
  | { readonly kind: 'answer'; readonly number: number; readonly value: unknown }
  | { readonly kind: 'fault'; readonly number: number; readonly value: unknown };

const maxMethodLength = 64;

/** DAG-CBOR knows no `undefined`: absent fields are left out, as in JSON. */
function plain(value: unknown): unknown {
  if (value === undefined) return null;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, one]) => one !== undefined)
      .map(([name, one]) => [name, plain(one)]),
  );
}

/** Length (4 bytes, big-endian), then DAG-CBOR. Throws DoorFault `too-large`. */
export function encodeFrame(frame: Frame): Buffer {
  const row =
    frame.kind === 'ask'
      ? [frame.kind, frame.number, frame.method, plain(frame.value)]
      : [frame.kind, frame.number, plain(frame.value)];
  const body = encode(row);
  if (body.length > maxFrameBytes) throw new DoorFault('too-large', `a frame of ${body.length} bytes`);
  const frameBytes = Buffer.allocUnsafe(lengthBytes + body.length);
  frameBytes.writeUInt32BE(body.length);
  frameBytes.set(body, lengthBytes);
  return frameBytes;
}

function decodeFrame(body: Uint8Array): Frame {
  let row: unknown;
  try {
    row = decode(body);
  } catch (error) {
    throw new DoorFault('damaged', 'a frame that is not canonical DAG-CBOR', { cause: error });
  }
  if (!Array.isArray(row)) throw new DoorFault('damaged', 'a frame of another shape');
  const [kind, number, ...rest] = row as unknown[];
  if (typeof number !== 'number' || !Number.isSafeInteger(number))
    throw new DoorFault('damaged', 'a frame without number');
  if (kind === 'ask' && rest.length === 2 && typeof rest[0] === 'string' && rest[0].length <= maxMethodLength)
    return { kind, number, method: rest[0], value: rest[1] };
  if ((kind === 'answer' || kind === 'fault') && rest.length === 1) return { kind, number, value: rest[0] };
  throw new DoorFault('damaged', 'a frame of another kind');
}

/** Cuts a stream of bytes into frames. Holds at most one unfinished frame. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #bytes = 0;

  /** The frames that `chunk` completes. Throws DoorFault `too-large` or `damaged`, after which the stream is of no use. */
  *push(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    for (;;) {
      const length = this.#peekLength();
      if (length === undefined || this.#bytes < lengthBytes + length) return;
      const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
      const rest = all.subarray(lengthBytes + length);
      this.#chunks = rest.length === 0 ? [] : [rest];
      this.#bytes = rest.length;
      yield decodeFrame(all.subarray(lengthBytes, lengthBytes + length));
    }
  }

  #peekLength(): number | undefined {
    if (this.#bytes < lengthBytes) return undefined;
    if ((this.#chunks[0]?.length ?? 0) < lengthBytes) this.#chunks = [Buffer.concat(this.#chunks)];
    const length = this.#chunks[0]?.readUInt32BE(0) ?? 0;
    if (length > maxFrameBytes) throw new DoorFault('too-large', `a frame of ${length} bytes`);
    return length;
  }
}
