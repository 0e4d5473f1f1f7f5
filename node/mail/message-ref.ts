import type { ContentRef } from '../store/content.ts';
import { MailFault } from './fault.ts';

/** Names a stored message and gives the keys to read it. Whoever holds it can read it: keep it sealed. */
export interface MessageRef {
  /** The manifest: the skeleton with references to the leaf parts. */
  readonly manifest: ContentRef;
  /** Octets of the whole message. */
  readonly size: number;
  /** SHA-256 of the whole message. */
  readonly hash: Uint8Array;
}

// DESIGN §14.
export const maxMessageBytes = 35 * 1024 * 1024;

// Fixed layout, not CBOR: a folder of 100,000 messages keeps this many of them in memory and in its snapshots.
// key 32, secret 32, size 6 (big endian), kind 1.
export const packedContentRefBytes = 71;
// content ref 71, size 6, hash 32.
export const packedMessageRefBytes = packedContentRefBytes + 38;

/** A content reference in 71 octets. */
export function packContentRef(ref: ContentRef): Uint8Array {
  const out = Buffer.alloc(packedContentRefBytes);
  if (ref.key.length !== 32 || ref.secret.length !== 32) throw new MailFault('damaged', 'a reference of another shape');
  out.set(ref.key, 0);
  out.set(ref.secret, 32);
  out.writeUIntBE(ref.size, 64, 6);
  out[70] = ref.kind === 'tree' ? 1 : 0;
  return out;
}

export function unpackContentRef(bytes: Uint8Array): ContentRef {
  const kind = bytes[70];
  if (bytes.length !== packedContentRefBytes || kind === undefined || kind > 1)
    throw new MailFault('damaged', 'not a packed content reference');
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    key: bytes.slice(0, 32),
    secret: bytes.slice(32, 64),
    size: view.readUIntBE(64, 6),
    kind: kind === 1 ? 'tree' : 'block',
  };
}

/** A message reference in 109 octets: the same reference always gives the same octets. */
export function encodeMessageRef(ref: MessageRef): Uint8Array {
  const out = Buffer.alloc(packedMessageRefBytes);
  if (ref.hash.length !== 32) throw new MailFault('damaged', 'a message hash of another length');
  out.set(packContentRef(ref.manifest), 0);
  out.writeUIntBE(ref.size, packedContentRefBytes, 6);
  out.set(ref.hash, packedContentRefBytes + 6);
  return out;
}

/** Throws MailFault `damaged` for octets that are none, `too-large` for one that claims more than a message can have. */
export function decodeMessageRef(bytes: Uint8Array): MessageRef {
  if (bytes.length !== packedMessageRefBytes) throw new MailFault('damaged', 'not a packed message reference');
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.readUIntBE(packedContentRefBytes, 6);
  if (size > maxMessageBytes) throw new MailFault('too-large', `a message said to have ${size} octets`);
  return {
    manifest: unpackContentRef(bytes.subarray(0, packedContentRefBytes)),
    size,
    hash: bytes.slice(packedContentRefBytes + 6),
  };
}
