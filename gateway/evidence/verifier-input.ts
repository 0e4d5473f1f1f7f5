import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { readHeaderBlock } from '../header-fields.ts';

// DESIGN §14: each signature costs a lookup and a public-key operation, and a stranger chooses how many there are.
const maxSignatures = 5;
// Measured: the verifier hashes about 60 MB/s, and 16 KiB made to be slow (one line of blanks) hold the loop up for some
// 20 ms, where 64 KiB do for 90.
const chunkBytes = 16 * 1024;

/**
 * The message as the verifier gets it: without DKIM-Signature fields beyond the first five (the topmost, which are the
 * newest), and in parts between which the event loop can turn if it is large.
 */
export function forVerifying(message: Uint8Array): Buffer | Readable {
  const parts = withoutExtraSignatures(message);
  if (parts.length === 1 && message.length <= chunkBytes) return bufferOf(message);
  return Readable.from(inChunks(parts), { objectMode: false });
}

function withoutExtraSignatures(message: Uint8Array): readonly Uint8Array[] {
  const signatures = readHeaderBlock(message).fields.filter((field) => field.name === 'dkim-signature');
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const extra of signatures.slice(maxSignatures)) {
    parts.push(message.subarray(from, extra.start));
    from = extra.end;
  }
  return [...parts, message.subarray(from)];
}

async function* inChunks(parts: readonly Uint8Array[]): AsyncGenerator<Buffer> {
  for (const part of parts) {
    for (let at = 0; at < part.length; at += chunkBytes) {
      yield bufferOf(part.subarray(at, at + chunkBytes));
      await setImmediate();
    }
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
