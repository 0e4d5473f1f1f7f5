import { hkdfSync } from 'node:crypto';

const noSalt = new Uint8Array();

/**
 * A 32-byte key for one purpose out of a secret (HKDF-SHA256, RFC 5869). Different purposes or salts give keys that
 * tell nothing about each other; `secret` must itself be unguessable.
 */
export function deriveKey(secret: Uint8Array, purpose: string, salt: Uint8Array = noSalt): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, salt, `epost/${purpose}`, 32));
}
