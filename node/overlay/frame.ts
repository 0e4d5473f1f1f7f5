import { isMethod } from './handlers.ts';
import { maxFrameBytes } from './overlay.ts';

/** What two nodes say to each other on a kept stream. `id` pairs an answer with its request; the asker chooses it. */
export type Frame =
  | {
      readonly kind: 'request';
      readonly id: number;
      readonly timeoutMs: number;
      readonly method: string;
      readonly body: Uint8Array;
    }
  | { readonly kind: 'answer'; readonly id: number; readonly body: Uint8Array }
  | { readonly kind: 'refused'; readonly id: number; readonly code: RefusalCode; readonly message: string }
  | { readonly kind: 'cancel'; readonly id: number };

export type RefusalCode = 'refused' | 'too-large';

// On the wire: length (4 bytes, big endian, of what follows), type (1), id (4), then by type.
const types = { request: 1, answer: 2, refused: 3, cancel: 4 } as const;
const refusalCodes: readonly RefusalCode[] = ['refused', 'too-large'];
const lengthBytes = 4;
const headBytes = 5;
// A reason for people; more would be a way to send bodies around the bound.
const maxMessageBytes = 1024;

/** The bytes of a frame, length first. Bodies and methods must be within the bounds of overlay.ts. */
export function encodeFrame(frame: Frame): Uint8Array {
  switch (frame.kind) {
    case 'request': {
      const method = Buffer.from(frame.method, 'latin1');
      const head = Buffer.alloc(5);
      head.writeUInt32BE(Math.min(Math.max(Math.ceil(frame.timeoutMs), 0), 0xffff_ffff));
      head.writeUInt8(method.length, 4);
      return assemble(frame, [head, method, frame.body]);
    }
    case 'answer':
      return assemble(frame, [frame.body]);
    case 'refused': {
      const message = Buffer.from(frame.message).subarray(0, maxMessageBytes);
      return assemble(frame, [Uint8Array.of(refusalCodes.indexOf(frame.code)), message]);
    }
    default:
      return assemble(frame, []);
  }
}

function assemble(frame: Frame, parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, headBytes);
  if (length > maxFrameBytes) throw new RangeError(`a frame of ${length} bytes; at most ${maxFrameBytes}`);
  const head = Buffer.alloc(lengthBytes + headBytes);
  head.writeUInt32BE(length);
  head.writeUInt8(types[frame.kind], lengthBytes);
  head.writeUInt32BE(frame.id, lengthBytes + 1);
  return Buffer.concat([head, ...parts]);
}

/** Reads a frame's content (without its length); undefined for anything that {@link encodeFrame} does not write. Never throws. */
export function decodeFrame(content: Uint8Array): Frame | undefined {
  if (content.length < headBytes || content.length > maxFrameBytes) return undefined;
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
  const id = bytes.readUInt32BE(1);
  const rest = bytes.subarray(headBytes);
  switch (bytes[0]) {
    case types.request:
      return decodeRequest(id, rest);
    case types.answer:
      return { kind: 'answer', id, body: asBody(rest) };
    case types.refused:
      return decodeRefusal(id, rest);
    case types.cancel:
      return rest.length === 0 ? { kind: 'cancel', id } : undefined;
    default:
      return undefined;
  }
}

function decodeRequest(id: number, rest: Buffer): Frame | undefined {
  if (rest.length < 5) return undefined;
  const bodyAt = 5 + rest.readUInt8(4);
  if (rest.length < bodyAt) return undefined;
  const method = rest.toString('latin1', 5, bodyAt);
  if (!isMethod(method)) return undefined;
  return { kind: 'request', id, timeoutMs: rest.readUInt32BE(0), method, body: asBody(rest.subarray(bodyAt)) };
}

function decodeRefusal(id: number, rest: Buffer): Frame | undefined {
  const code = refusalCodes[rest[0] ?? -1];
  if (code === undefined || rest.length > 1 + maxMessageBytes) return undefined;
  return { kind: 'refused', id, code, message: rest.toString('utf8', 1) };
}

function asBody(bytes: Buffer): Uint8Array {
  // A plain Uint8Array over the same memory: callers compare and encode bodies, and a Buffer does both differently.
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * Cuts a stream of bytes into frame contents, whatever chunks they come in. Holds at most one frame. After `broken` a
 * length was impossible: the stream cannot be read any further.
 */
export class FrameCutter {
  readonly #length = Buffer.alloc(lengthBytes);
  #lengthHave = 0;
  #content: Buffer | undefined;
  #contentHave = 0;
  #broken = false;

  /** The frames that `chunk` completes, in order, or `broken`. */
  push(chunk: Uint8Array): readonly Uint8Array[] | 'broken' {
    const whole: Uint8Array[] = [];
    let rest = chunk;
    while (rest.length > 0 && !this.#broken) {
      rest = this.#content === undefined ? this.#takeLength(rest) : this.#takeContent(rest, this.#content, whole);
    }
    return this.#broken ? 'broken' : whole;
  }

  #takeLength(chunk: Uint8Array): Uint8Array {
    const taken = Math.min(chunk.length, lengthBytes - this.#lengthHave);
    this.#length.set(chunk.subarray(0, taken), this.#lengthHave);
    this.#lengthHave += taken;
    if (this.#lengthHave === lengthBytes) this.#begin(this.#length.readUInt32BE(0));
    return chunk.subarray(taken);
  }

  #begin(length: number): void {
    if (length < headBytes || length > maxFrameBytes) this.#broken = true;
    else this.#content = Buffer.allocUnsafeSlow(length);
    this.#contentHave = 0;
    this.#lengthHave = 0;
  }

  #takeContent(chunk: Uint8Array, content: Buffer, whole: Uint8Array[]): Uint8Array {
    const taken = Math.min(chunk.length, content.length - this.#contentHave);
    content.set(chunk.subarray(0, taken), this.#contentHave);
    this.#contentHave += taken;
    if (this.#contentHave === content.length) {
      whole.push(content);
      this.#content = undefined;
    }
    return chunk.subarray(taken);
  }
}
