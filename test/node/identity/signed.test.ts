import { encode } from '@ipld/dag-cbor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { decodeCanonical, encodeCanonical } from '../../../node/identity/canonical.ts';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { decodeSigned, encodeSigned, readSigned, signBytes, verifySigned } from '../../../node/identity/signed.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

describe('canonical values', () => {
  it('come back as they were', () => {
    const value = fc.dictionary(fc.string(), fc.oneof(fc.integer(), fc.string(), fc.boolean(), fc.uint8Array()));
    fc.assert(
      fc.property(value, (plain) => {
        const again = decodeCanonical(encodeCanonical(plain), 1_000_000);
        expect(again.kind).toBe('decoded');
        if (again.kind === 'decoded') expect(encodeCanonical(again.value)).toEqual(encodeCanonical(plain));
      }),
      { numRuns: 50 },
    );
  });

  it.each([
    ['a key twice', 'a2616101616102'],
    ['keys in the wrong order', 'a2616201616101'],
    ['a longer integer than needed', 'a161611801'],
    ['a string of unknown length', '7f6161ff'],
    ['bytes after the end', '0000'],
    ['half a value', '62'],
    ['an unknown tag', 'c100'],
    ['nothing', ''],
  ])('%s is refused', (_why, text) => {
    expect(decodeCanonical(hex(text), 100).kind).toBe('invalid');
  });

  it('more bytes than allowed are refused unread', () => {
    const decoded = decodeCanonical(encodeCanonical('a'.repeat(200)), 100);
    expect(decoded).toMatchObject({ kind: 'invalid', reason: expect.stringContaining('at most 100') });
  });

  it('nesting that would exhaust the stack is refused, not a crash', () => {
    expect(decodeCanonical(new Uint8Array(100_000).fill(0x81), 1_000_000).kind).toBe('invalid');
    expect(decodeCanonical(new Uint8Array(100_000).fill(0xa1), 1_000_000).kind).toBe('invalid');
  });

  it('any bytes at all are an answer, never an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (any) =>
        ['decoded', 'invalid'].includes(decodeCanonical(any, 300).kind),
      ),
    );
  });
});

describe('signed bytes', () => {
  const key = generateIdentityKeys().signing;
  const other = generateIdentityKeys().signing;
  const payload = encodeCanonical({ a: 1 });
  const signed = signBytes('thing', payload, key);
  const shape = z.strictObject({ a: z.int() });

  it('verify as what they were signed as, and as nothing else', () => {
    expect(verifySigned('thing', signed)).toBe(true);
    expect(verifySigned('thin', signed)).toBe(false);
    expect(verifySigned('thing2', signed)).toBe(false);
    expect(verifySigned('thing', { ...signed, payload: encodeCanonical({ a: 2 }) })).toBe(false);
    expect(verifySigned('thing', { ...signed, signer: other.public })).toBe(false);
  });

  it('a tag that runs into the payload is another signature', () => {
    const run = signBytes('t', Buffer.from('hing\0x'), key);
    expect(verifySigned('thing', { ...run, payload: Buffer.from('x') })).toBe(false);
  });

  it('come back from their encoding', () => {
    expect(decodeSigned(encodeSigned(signed))).toEqual(signed);
  });

  it('with any byte changed are not read', () => {
    const bytes = encodeSigned(signed);
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(readSigned('thing', changed, { shape, maxBytes: 1_000, signer: key.public }).kind).toBe('invalid');
    }
  });

  it.each([
    [
      'another signer than expected',
      () => readSigned('thing', encodeSigned(signed), { shape, maxBytes: 1_000, signer: other.public }),
    ],
    [
      'another shape',
      () =>
        readSigned('thing', encodeSigned(signBytes('thing', encodeCanonical({ b: 1 }), key)), {
          shape,
          maxBytes: 1_000,
        }),
    ],
    [
      'a payload that is not canonical',
      () => readSigned('thing', encodeSigned(signBytes('thing', hex('a161611801'), key)), { shape, maxBytes: 1_000 }),
    ],
    [
      'a field too many',
      () => readSigned('thing', Uint8Array.from(encode({ ...signed, more: 1 })), { shape, maxBytes: 1_000 }),
    ],
    ['more bytes than allowed', () => readSigned('thing', encodeSigned(signed), { shape, maxBytes: 50 })],
  ])('%s is refused with a reason', (_why, attempt) => {
    expect(attempt()).toMatchObject({ kind: 'invalid', reason: expect.stringMatching(/./) });
  });
});
