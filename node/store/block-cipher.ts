import { createCipheriv, createDecipheriv, createHash, createHmac, createSecretKey, hash as hashOf } from 'node:crypto';
import { StoreFault } from './fault.ts';

/** What AES-256-GCM adds to a plaintext. */
export const tagBytes = 16;

// Every key encrypts exactly one plaintext (it is derived from it), so a constant nonce is never used twice under one key.
const nonce = new Uint8Array(12);
// Without a tag of our own the key of a convergent block would be the plain hash of its content, which other places may write down.
const convergentTag = 'epost/convergent/1';
const saltedTag = 'epost/salted/1';

export function sha256(...parts: readonly (Uint8Array | string)[]): Uint8Array {
  const [only] = parts;
  // In one call, where that is all: most blocks that are read are hashed so.
  if (parts.length === 1 && only !== undefined) return hashOf('sha256', only, 'buffer');
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

// Keys go to Node as key objects: of octets it makes one in a roundabout way, for some 18 µs each.

/** The key a plaintext is encrypted under: a function of the plaintext, and of the salt if there is one. */
function secretOf(plaintext: Uint8Array, salt: Uint8Array | undefined): Uint8Array {
  if (salt === undefined) return createHmac('sha256', convergentTag).update(plaintext).digest();
  if (salt.length !== 32) throw new StoreFault('invalid', 'a salt has 32 bytes');
  return createHmac('sha256', createSecretKey(salt)).update(saltedTag).update(plaintext).digest();
}

/** Encrypts one block: C = E(K, X), K from X, key = H(C) (DESIGN §6). Without a salt the key is convergent. */
export function encryptBlock(
  plaintext: Uint8Array,
  salt: Uint8Array | undefined,
): { key: Uint8Array; secret: Uint8Array; bytes: Uint8Array } {
  const secret = secretOf(plaintext, salt);
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(secret), nonce);
  const bytes = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  return { key: sha256(bytes), secret, bytes };
}

/** The plaintext of a block; throws StoreFault `invalid` when the bytes are not what `secret` encrypted. */
export function decryptBlock(bytes: Uint8Array, secret: Uint8Array): Uint8Array {
  if (bytes.length < tagBytes) throw new StoreFault('invalid', 'a block is shorter than its authentication tag');
  try {
    const decipher = createDecipheriv('aes-256-gcm', createSecretKey(secret), nonce);
    decipher.setAuthTag(bytes.subarray(bytes.length - tagBytes));
    const head = decipher.update(bytes.subarray(0, bytes.length - tagBytes));
    const tail = decipher.final();
    return tail.length === 0 ? head : Buffer.concat([head, tail]);
  } catch (cause) {
    throw new StoreFault('invalid', 'a block does not open under the key of its reference', { cause });
  }
}
