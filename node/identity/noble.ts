import { createHash } from 'node:crypto';
import * as ed25519 from '@noble/ed25519';

// The synchronous functions of @noble/ed25519 work only once they are given a SHA-512.
ed25519.hashes.sha512 = (message) => Uint8Array.from(createHash('sha512').update(message).digest());

/**
 * The second, independent implementation of Ed25519. About ten times slower than node:crypto; it exists so that the
 * two can be held against each other in tests and so that either can be replaced.
 */
export const nobleEd25519 = {
  publicKey: (seed: Uint8Array): Uint8Array => ed25519.getPublicKey(seed),
  sign: (seed: Uint8Array, bytes: Uint8Array): Uint8Array => ed25519.sign(bytes, seed),
  /** RFC 8032 rules (not ZIP 215), as OpenSSL has them. */
  verify: (signer: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean => {
    try {
      return ed25519.verify(signature, bytes, signer, { zip215: false });
    } catch {
      return false;
    }
  },
};
