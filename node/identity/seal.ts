import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { deriveKey } from './derive.ts';
import { ephemeralSealingKey, publicKeyBytes, type SealingKey } from './keys.ts';

const version = 1;
const tagBytes = 16;
const headBytes = 1 + publicKeyBytes;
// A zero nonce is safe here: the key comes from a fresh ephemeral key and is used once.
const nonce = new Uint8Array(12);

/** How many bytes longer a sealed text is than the text. */
export const sealOverheadBytes = headBytes + tagBytes;

function boxKey(shared: Uint8Array, ephemeral: Uint8Array, recipient: Uint8Array, context: Uint8Array): Uint8Array {
  // Both public keys and the context go into the key: a box moved to another recipient or place does not open.
  const salt = createHash('sha256').update(ephemeral).update(recipient).update(context).digest();
  return deriveKey(shared, 'seal/1', salt);
}

/**
 * Seals `plaintext` to the holder of `recipient` (X25519, HKDF-SHA256, AES-256-GCM). Says nothing about who sealed it;
 * sign inside. `context` is not carried: whoever opens must know it. Throws when `recipient` is no usable key.
 */
export function seal(recipient: Uint8Array, plaintext: Uint8Array, context: Uint8Array): Uint8Array {
  const ephemeral = ephemeralSealingKey();
  const key = boxKey(ephemeral.agree(recipient), ephemeral.public, recipient, context);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const parts = [
    Uint8Array.of(version),
    ephemeral.public,
    cipher.update(plaintext),
    cipher.final(),
    cipher.getAuthTag(),
  ];
  return Uint8Array.from(Buffer.concat(parts));
}

/** The plaintext, or undefined when the box is not for this key and context or was changed. Never throws. */
export function open(key: SealingKey, sealed: Uint8Array, context: Uint8Array): Uint8Array | undefined {
  if (sealed.length < sealOverheadBytes || sealed[0] !== version) return undefined;
  const ephemeral = sealed.subarray(1, headBytes);
  try {
    const decipher = createDecipheriv(
      'aes-256-gcm',
      boxKey(key.agree(ephemeral), ephemeral, key.public, context),
      nonce,
    );
    decipher.setAuthTag(sealed.subarray(-tagBytes));
    const body = decipher.update(sealed.subarray(headBytes, -tagBytes));
    return Uint8Array.from(Buffer.concat([body, decipher.final()]));
  } catch {
    return undefined;
  }
}
