import { decode } from '@ipld/dag-cbor';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeManifest, encodeManifest } from '../../../node/mail/manifest.ts';

/** The octets of the literals, in hex. */
function read(manifest: Uint8Array, size: number): string[] {
  return decodeManifest(manifest, size).map((segment) => (segment.kind === 'literal' ? hex(segment.bytes) : 'a leaf'));
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const literal = (size: number): Uint8Array => encodeManifest([{ kind: 'literal', bytes: Buffer.alloc(size, 7) }]);

it.each([0, 23, 24, 255, 256, 4_096, 65_535, 65_536])('a message of %i octets is its manifest', (size) => {
  expect(read(literal(size), size)).toEqual([hex(Buffer.alloc(size, 7))]);
  expect(() => decodeManifest(literal(size), size + 1)).toThrow(/are due/);
});

it('what is read without CBOR is what CBOR says, whatever is changed in it', () => {
  const bytes = literal(300);
  fc.assert(
    fc.property(fc.nat(20), fc.nat(255), fc.nat(4), (at, octet, cut) => {
      const other = Buffer.from(bytes.subarray(0, bytes.length - cut));
      other[at] = octet;
      let found: string[];
      try {
        found = read(other, 300);
      } catch {
        return;
      }
      const { segments } = decode<{ segments: Uint8Array[] }>(other);
      expect(found).toEqual(segments.map(hex));
    }),
    { numRuns: 2_000 },
  );
});
