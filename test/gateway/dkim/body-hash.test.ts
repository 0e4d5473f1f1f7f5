import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BodyHash } from '../../../gateway/dkim/body-hash.ts';

interface Hasher {
  update(chunk: Buffer): void;
  digest(encoding: 'base64'): string;
  readonly canonicalizedLength: number;
  readonly bodyHashedBytes: number;
}
// Untyped, and not used by the program: a second implementation to compare with.
const { dkimBody } = createRequire(import.meta.url)('mailauth/lib/dkim/body/index.js') as {
  dkimBody: (form: string, algorithm: string, maxBytes: number | '') => Hasher;
};

describe('the hash of a body', () => {
  it('is mailauth’s, in both forms, with and without a length, whatever white space and line ends there are', async () => {
    const piece = fc.constantFrom('a', 'word', ' ', '  ', '\t', '\r\n', ' \r\n', '\r\n\r\n', '.', '\u00e9', '\r');
    const body = fc
      .array(piece, { maxLength: 30 })
      .map((pieces) => Buffer.from(pieces.join('').replace(/\r$/, ''), 'latin1'));
    const length = fc.option(fc.nat(60), { nil: undefined });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('relaxed', 'simple'), body, length, async (form, bytes, maxBytes) => {
        const theirs = dkimBody(form, 'sha256', maxBytes ?? '');
        theirs.update(bytes);
        const hash = theirs.digest('base64');
        const ours = new BodyHash(form, 'sha256', maxBytes);
        await ours.take(bytes);
        expect([ours.digest('base64'), ours.canonicalBytes, ours.hashedBytes]).toEqual([
          hash,
          theirs.canonicalizedLength,
          theirs.bodyHashedBytes,
        ]);
      }),
      { numRuns: 3_000 },
    );
  });

  it('is the same for a body of many slices', async () => {
    const lines = `${'0123456789 '.repeat(7)}\r\nQUJD\r\n\tx  \r\n`.repeat(20_000);
    const bytes = Buffer.from(`${lines}\r\n\r\n`);
    for (const form of ['relaxed', 'simple'] as const) {
      const theirs = dkimBody(form, 'sha256', '');
      theirs.update(bytes);
      const ours = new BodyHash(form, 'sha256');
      await ours.take(bytes);
      expect(ours.digest('base64')).toBe(theirs.digest('base64'));
    }
  });
});
