import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { base64Length, readBase64, writeBase64 } from '../../../node/mail/base64-form.ts';
import { sliceBytes } from '../../../node/mail/slices.ts';
import { noise } from './messages.ts';

/** As plainly as it can be said. */
function plainText(bytes: Uint8Array, width: number, eol: string): Buffer {
  const characters = Buffer.from(bytes).toString('base64');
  const lines = Array.from({ length: Math.ceil(characters.length / width) }, (_, line) =>
    characters.slice(line * width, (line + 1) * width),
  );
  return Buffer.from(lines.join(eol), 'latin1');
}

const large = noise(2 * sliceBytes + 1_234, 7);
const forms = [
  ['lines as mail programs write them', 76, '\r\n'],
  ['lines that end in LF only', 76, '\n'],
  ['lines that end within a group of four', 61, '\r\n'],
  ['one character in a line', 1, '\n'],
  ['lines of exactly one slice', sliceBytes, '\r\n'],
  ['lines longer than a slice', sliceBytes + 5, '\r\n'],
  ['one line', 8 * sliceBytes, '\r\n'],
] as const;

describe('base64 of several slices', () => {
  it.each(forms)('is written and read as if it were one: %s', async (_why, width, eol) => {
    const text = plainText(large, width, eol);
    const written = [...writeBase64(large, { width, eol })];
    expect(Buffer.concat(written).equals(text)).toBe(true);
    expect(base64Length(large.length, { width, eol })).toBe(text.length);
    const read = await readBase64(text);
    expect(read).toMatchObject({ start: 0, end: text.length });
    expect(Buffer.from(read?.decoded ?? []).equals(large)).toBe(true);
  });

  const spoiled = (at: number, what: string): Buffer => {
    const text = plainText(large, 76, '\r\n');
    text.write(what, at, 'latin1');
    return text;
  };
  it.each([
    ['a character that is none, in the second slice', spoiled(sliceBytes + sliceBytes / 2 + 100, '!')],
    ['a line end in another place, in the second slice', spoiled(78 * 10_000 + 20, '\r\n')],
    // The last four characters of the first slice, which is no whole number of lines.
    ['padding at the end of the first slice', spoiled(sliceBytes + 2 * Math.floor(sliceBytes / 76) - 4, 'AA==')],
    ['characters behind the padding', Buffer.concat([plainText(noise(100, 1), 76, '\n'), Buffer.from('AAAA')])],
    ['bits set that the padding leaves out', Buffer.from('AAAB\r\nAB==')],
  ])('is left as it is with %s', async (_why, text) => {
    expect(await readBase64(text)).toBeUndefined();
  });

  it('whatever the octets and the width', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.integer({ min: 1, max: 100 }),
        fc.constantFrom('\r\n', '\n'),
        async (bytes, width, eol) => {
          const text = plainText(bytes, width, eol);
          expect(Buffer.concat([...writeBase64(bytes, { width, eol })]).equals(text)).toBe(true);
          expect(Buffer.from((await readBase64(text))?.decoded ?? []).equals(Buffer.from(bytes))).toBe(true);
        },
      ),
    );
  });
});
