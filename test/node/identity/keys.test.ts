import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deriveKey } from '../../../node/identity/derive.ts';
import {
  generateIdentityKeys,
  importIdentityKeys,
  signingKeyFromSeed,
  verifySignature,
} from '../../../node/identity/keys.ts';
import { nobleEd25519 } from '../../../node/identity/noble.ts';
import { nodePeerId } from '../../../node/identity/peer-id.ts';
import { open, seal, sealOverheadBytes } from '../../../node/identity/seal.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

describe('signing', () => {
  it('gives the public key and signature of RFC 8032 §7.1, test 2', () => {
    const key = signingKeyFromSeed(hex('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb'));
    expect(Buffer.from(key.public).toString('hex')).toBe(
      '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    );
    expect(Buffer.from(key.sign(hex('72'))).toString('hex')).toBe(
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    );
  });

  it('both implementations agree on keys, signatures and verdicts', () => {
    fc.assert(
      fc.property(bytes(32), fc.uint8Array({ maxLength: 200 }), fc.nat(), (seed, message, at) => {
        const key = signingKeyFromSeed(seed);
        const signature = nobleEd25519.sign(seed, message);
        expect(Buffer.compare(key.public, nobleEd25519.publicKey(seed))).toBe(0);
        // Before this process has signed it: what it signed itself it would not look at again.
        expect(verifySignature(key.public, message, signature)).toBe(true);
        expect(Buffer.compare(signature, key.sign(message))).toBe(0);
        const changed = Uint8Array.from(signature);
        changed[at % 64] = (changed[at % 64] ?? 0) ^ (1 << (at % 8));
        for (const verify of [verifySignature, nobleEd25519.verify]) {
          expect(verify(key.public, message, signature)).toBe(true);
          expect(verify(key.public, message, changed)).toBe(false);
        }
      }),
      { numRuns: 25 },
    );
  });

  it('what held once holds for these octets only', () => {
    fc.assert(
      fc.property(bytes(32), fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(), (seed, message, at) => {
        const key = signingKeyFromSeed(seed);
        const other = signingKeyFromSeed(seed.map((octet) => octet ^ 1));
        const signature = key.sign(message);
        expect(verifySignature(key.public, message, signature)).toBe(true);
        const changed = Uint8Array.from(message);
        changed[at % message.length] = (changed[at % message.length] ?? 0) ^ 1;
        expect(verifySignature(key.public, changed, signature)).toBe(false);
        expect(verifySignature(other.public, message, signature)).toBe(false);
        // The same octets in a row, cut elsewhere.
        const longer = Buffer.concat([signature.subarray(63), message]);
        expect(verifySignature(key.public, longer, signature.subarray(0, 63))).toBe(false);
        for (let times = 0; times < 2; times += 1) expect(verifySignature(key.public, changed, signature)).toBe(false);
      }),
      { numRuns: 25 },
    );
  });

  it.each([
    ['a key that is too short', 31, 64],
    ['a signature that is too short', 32, 63],
    ['an empty signature', 32, 0],
    ['a key and signature of zeros', 32, 64],
  ])('%s verifies nothing and does not throw', (_why, key, signature) => {
    expect(verifySignature(new Uint8Array(key), new Uint8Array(3), new Uint8Array(signature))).toBe(false);
  });

  it('more signers than are remembered all verify', () => {
    const message = new Uint8Array([1]);
    for (let n = 0; n < 2_100; n += 1) {
      const seed = new Uint8Array(32);
      new DataView(seed.buffer).setUint32(0, n);
      const key = signingKeyFromSeed(seed);
      if (!verifySignature(key.public, message, key.sign(message))) throw new Error(`signer ${n} does not verify`);
    }
  });
});

describe('identity keys', () => {
  it('come back from their export with the same public keys', () => {
    const keys = generateIdentityKeys();
    const again = importIdentityKeys(keys.export());
    expect(keys.export()).toHaveLength(64);
    expect(Buffer.compare(again.signing.public, keys.signing.public)).toBe(0);
    expect(Buffer.compare(again.sealing.public, keys.sealing.public)).toBe(0);
  });

  it('agree on one secret from both sides (RFC 7748)', () => {
    const [a, b] = [generateIdentityKeys().sealing, generateIdentityKeys().sealing];
    expect(Buffer.compare(a.agree(b.public), b.agree(a.public))).toBe(0);
  });

  it('refuse a public key of small order (RFC 7748 §6.1)', () => {
    expect(() => generateIdentityKeys().sealing.agree(new Uint8Array(32))).toThrow(/./);
  });

  it.each([0, 32, 63, 65])('%i secret bytes are no identity', (length) => {
    expect(() => importIdentityKeys(new Uint8Array(length))).toThrow(/64/);
  });

  it('two generated identities differ', () => {
    expect(Buffer.compare(generateIdentityKeys().export(), generateIdentityKeys().export())).not.toBe(0);
  });
});

describe('a sealed box', () => {
  const [recipient, stranger] = [generateIdentityKeys().sealing, generateIdentityKeys().sealing];
  const text = Buffer.from('to be read by one');
  const context = Buffer.from('notification 7');

  it('opens for its recipient in its context, and is longer by the overhead', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5_000 }), fc.uint8Array({ maxLength: 50 }), (plain, where) => {
        const sealed = seal(recipient.public, plain, where);
        expect(sealed.length - plain.length).toBe(sealOverheadBytes);
        expect(Buffer.compare(open(recipient, sealed, where) ?? Buffer.from('not opened'), plain)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  it.each([
    ['another recipient', () => open(stranger, seal(recipient.public, text, context), context)],
    ['another context', () => open(recipient, seal(recipient.public, text, context), Buffer.from('notification 8'))],
    ['nothing', () => open(recipient, new Uint8Array(), context)],
    [
      'its head alone',
      () => open(recipient, seal(recipient.public, text, context).subarray(0, sealOverheadBytes), context),
    ],
    [
      'an ephemeral key of small order',
      () => {
        const sealed = seal(recipient.public, text, context);
        sealed.fill(0, 1, 33);
        return open(recipient, sealed, context);
      },
    ],
  ])('does not open for %s', (_why, attempt) => {
    expect(attempt()).toBeUndefined();
  });

  it('does not open when any byte was changed', () => {
    const sealed = seal(recipient.public, text, context);
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = Uint8Array.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      // The top bit of the last byte of an X25519 key is ignored (RFC 7748 §5); the low bit is not.
      expect(open(recipient, changed, context)).toBeUndefined();
    }
  });

  it('is never the same twice', () => {
    expect(Buffer.compare(seal(recipient.public, text, context), seal(recipient.public, text, context))).not.toBe(0);
  });

  it('cannot be made for a key of small order', () => {
    expect(() => seal(new Uint8Array(32), text, context)).toThrow(/./);
  });
});

describe('derived keys', () => {
  it('differ by secret, purpose and salt, and are the same for the same three', () => {
    const [one, two] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    const keys = [deriveKey(one, 'a'), deriveKey(one, 'b'), deriveKey(two, 'a'), deriveKey(one, 'a', two)];
    expect(new Set(keys.map((key) => Buffer.from(key).toString('hex'))).size).toBe(4);
    expect(Buffer.compare(deriveKey(one, 'a'), keys[0] ?? new Uint8Array())).toBe(0);
    expect(keys.every((key) => key.length === 32)).toBe(true);
  });
});

describe('peer ids', () => {
  it('are those of libp2p', async () => {
    const { generateKeyPairFromSeed } = await import('@libp2p/crypto/keys');
    const { peerIdFromPrivateKey } = await import('@libp2p/peer-id');
    for (let n = 0; n < 5; n += 1) {
      const seed = new Uint8Array(32).fill(n);
      const theirs = peerIdFromPrivateKey(await generateKeyPairFromSeed('Ed25519', seed)).toString();
      expect(nodePeerId(signingKeyFromSeed(seed).public)).toBe(theirs);
    }
  });
});
