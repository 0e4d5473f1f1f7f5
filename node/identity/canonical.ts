import { decode, encode } from '@ipld/dag-cbor';

/** The one encoding of everything signed or stored: canonical DAG-CBOR (minimal integers, sorted keys, no duplicates). */
export function encodeCanonical(value: unknown): Uint8Array {
  return Uint8Array.from(encode(value));
}

export type Decoded =
  | { readonly kind: 'decoded'; readonly value: unknown }
  | { readonly kind: 'invalid'; readonly reason: string };

/**
 * Reads canonical DAG-CBOR from a stranger: refuses what is longer than `maxBytes`, what does not parse, and what is not
 * the one encoding of its value, so that two byte strings never mean the same thing. Never throws.
 */
export function decodeCanonical(bytes: Uint8Array, maxBytes: number): Decoded {
  if (bytes.length > maxBytes) return { kind: 'invalid', reason: `${bytes.length} bytes, at most ${maxBytes} allowed` };
  try {
    const value: unknown = decode(bytes);
    // The decoder is strict about integers and duplicates but not about key order: encoding again is the whole truth.
    // Nesting deep enough to exhaust the stack ends as a RangeError in the catch below.
    if (!equalBytes(encode(value), bytes)) return { kind: 'invalid', reason: 'not in canonical form' };
    return { kind: 'decoded', value };
  } catch {
    return { kind: 'invalid', reason: 'not DAG-CBOR' };
  }
}

/** Whether two byte strings are the same. Not for secrets: it stops at the first difference. */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && Buffer.compare(left, right) === 0;
}
