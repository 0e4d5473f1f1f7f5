import { createHash, hash as hashOf } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';

// Hashing or copying this much takes well under a millisecond, writing it as base64 two or three: between slices the event loop turns.
export const sliceBytes = 512 * 1024;

/** The bytes slice by slice. */
export function* slicesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sliceBytes) yield bytes.subarray(at, at + sliceBytes);
}

/** Does the work for one slice after the other and lets others have the event loop in between; small ones share a turn. */
export async function inSlices(slices: Iterable<Uint8Array>, work: (slice: Uint8Array) => void): Promise<void> {
  let bytes = 0;
  for (const slice of slices) {
    if (bytes + slice.length > sliceBytes) {
      await turn();
      bytes = 0;
    }
    work(slice);
    bytes += slice.length;
  }
}

/** SHA-256 of bytes of any size, with what stands before them. */
export async function sha256InSlices(bytes: Uint8Array, before = ''): Promise<Buffer> {
  // Most mail: in one call, which costs half of what three do.
  if (before === '' && bytes.length <= sliceBytes) return hashOf('sha256', bytes, 'buffer');
  const hash = createHash('sha256').update(before);
  await inSlices(slicesOf(bytes), (slice) => hash.update(slice));
  return hash.digest();
}

function* slicesOfAll(parts: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const part of parts) yield* slicesOf(part);
}

/** One array of all parts: what Buffer.concat does, without holding the event loop for a large one. */
export async function joinedInSlices(parts: readonly Uint8Array[]): Promise<Buffer> {
  const size = parts.reduce((sum, { length }) => sum + length, 0);
  if (size <= sliceBytes) return Buffer.concat(parts, size);
  const whole = Buffer.allocUnsafeSlow(size);
  let to = 0;
  await inSlices(slicesOfAll(parts), (slice) => {
    whole.set(slice, to);
    to += slice.length;
  });
  return whole;
}
