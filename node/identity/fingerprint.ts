import { createHash } from 'node:crypto';

/** How a public key is named in policies and by people: the first 32 hexadecimal digits of its SHA-256, which nobody can make another key for. */
export function fingerprint(key: Uint8Array): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 32);
}
