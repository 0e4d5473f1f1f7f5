import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { IdentityFault } from './fault.ts';
import { nameOfSignature, Proven } from './proven.ts';

/** An Ed25519 key (RFC 8032) that signs. The secret stays inside. */
export interface SigningKey {
  /** 32 bytes. */
  readonly public: Uint8Array;
  /** 64 bytes over exactly these bytes; use signBytes for anything that others verify. */
  sign(bytes: Uint8Array): Uint8Array;
}

/** An X25519 key (RFC 7748) to which others seal. The secret stays inside. */
export interface SealingKey {
  /** 32 bytes. */
  readonly public: Uint8Array;
  /** The shared secret with another public key, 32 bytes; an IdentityFault `bad-key` for a point of small order. */
  agree(theirPublic: Uint8Array): Uint8Array;
}

export interface IdentityKeys {
  readonly signing: SigningKey;
  readonly sealing: SealingKey;
  /** The secret: Ed25519 seed and X25519 secret, 64 bytes. For key files and nothing else. */
  export(): Uint8Array;
}

const keyBytes = 32;
export const publicKeyBytes = keyBytes;
export const seedBytes = keyBytes;
export const signatureBytes = 64;
const secretBytes = 2 * keyBytes;

// DER around a raw 32-byte key (RFC 8410 §7 and §4).
const ed25519Private = Buffer.from('302e020100300506032b657004220420', 'hex');
const ed25519Public = Buffer.from('302a300506032b6570032100', 'hex');
const x25519Private = Buffer.from('302e020100300506032b656e04220420', 'hex');
const x25519Public = Buffer.from('302a300506032b656e032100', 'hex');

// Some minutes of a busy node; 32 octets each.
const proven = new Proven(8_192);

export function signingKeyFromSeed(seed: Uint8Array): SigningKey {
  const key = privateKey(ed25519Private, seed);
  const own = publicBytes(key);
  return {
    public: own,
    sign: (bytes) => {
      // Not the Buffer that node:crypto gives: it compares and prints unlike the Uint8Array it claims to be.
      const signature = Uint8Array.from(sign(null, bytes, key));
      proven.add(nameOfSignature(own, signature, bytes));
      return signature;
    },
  };
}

export function importIdentityKeys(secret: Uint8Array): IdentityKeys {
  if (secret.length !== secretBytes)
    throw new IdentityFault('bad-key', `an identity secret has ${secretBytes} bytes, this has ${secret.length}`);
  const kept = Uint8Array.from(secret);
  const sealing = privateKey(x25519Private, kept.subarray(keyBytes));
  return {
    signing: signingKeyFromSeed(kept.subarray(0, keyBytes)),
    sealing: { public: publicBytes(sealing), agree: (theirs) => agree(sealing, theirs) },
    export: () => Uint8Array.from(kept),
  };
}

/**
 * A sealing key for one use. Half the work of {@link importIdentityKeys}: nothing signs, and the key is not rebuilt
 * from its bytes.
 */
export function ephemeralSealingKey(): SealingKey {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  return { public: rawPublic(publicKey), agree: (theirs) => agree(privateKey, theirs) };
}

/** New keys from the system's random source. */
export function generateIdentityKeys(): IdentityKeys {
  const seed = rawPrivate(generateKeyPairSync('ed25519').privateKey);
  const secret = rawPrivate(generateKeyPairSync('x25519').privateKey);
  return importIdentityKeys(Buffer.concat([seed, secret]));
}

// Rebuilding a key object costs half a verification; a gateway sees few distinct signers at a time. Bounded: strangers name keys.
const maxCachedKeys = 2_000;
const verifyKeys = new Map<string, KeyObject>();

/** Whether this is the Ed25519 signature of exactly these bytes. False for keys and signatures of a wrong form. */
export function verifySignature(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== keyBytes || signature.length !== signatureBytes) return false;
  const name = nameOfSignature(publicKey, signature, bytes);
  if (proven.has(name)) return true;
  try {
    const holds = verify(null, bytes, verifyKey(publicKey), signature);
    if (holds) proven.add(name);
    return holds;
  } catch {
    return false; // not a point of the curve
  }
}

function verifyKey(publicKey: Uint8Array): KeyObject {
  const name = Buffer.from(publicKey).toString('base64');
  const found =
    verifyKeys.get(name) ??
    createPublicKey({ key: Buffer.concat([ed25519Public, publicKey]), format: 'der', type: 'spki' });
  verifyKeys.delete(name);
  verifyKeys.set(name, found);
  if (verifyKeys.size > maxCachedKeys) verifyKeys.delete(verifyKeys.keys().next().value ?? '');
  return found;
}

function agree(own: KeyObject, theirPublic: Uint8Array): Uint8Array {
  if (theirPublic.length !== keyBytes)
    throw new IdentityFault('bad-key', `a sealing key has ${keyBytes} bytes, this has ${theirPublic.length}`);
  try {
    const theirs = createPublicKey({ key: Buffer.concat([x25519Public, theirPublic]), format: 'der', type: 'spki' });
    return Uint8Array.from(diffieHellman({ privateKey: own, publicKey: theirs }));
  } catch (cause) {
    // OpenSSL refuses an all-zero secret (RFC 7748 §6.1): a point of small order.
    throw new IdentityFault('bad-key', 'this sealing key cannot be used', { cause });
  }
}

function privateKey(prefix: Buffer, raw: Uint8Array): KeyObject {
  if (raw.length !== keyBytes)
    throw new IdentityFault('bad-key', `a secret key has ${keyBytes} bytes, this has ${raw.length}`);
  return createPrivateKey({ key: Buffer.concat([prefix, raw]), format: 'der', type: 'pkcs8' });
}

function publicBytes(key: KeyObject): Uint8Array {
  return rawPublic(createPublicKey(key));
}

// As JWK (RFC 8037 §2) and not as DER, which OpenSSL takes ten times as long to write.
function rawPublic(key: KeyObject): Uint8Array {
  return Uint8Array.from(Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url'));
}

function rawPrivate(key: KeyObject): Uint8Array {
  return key.export({ format: 'der', type: 'pkcs8' }).subarray(-keyBytes);
}
