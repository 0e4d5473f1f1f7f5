import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WireCheck } from '../../../gateway/inbound/wire-check.ts';

function checked(parts: readonly Uint8Array[]): { bare: boolean; longestLine: number } {
  const wire = new WireCheck();
  for (const part of parts) wire.add(part);
  wire.end();
  return { bare: wire.bare, longestLine: wire.longestLine };
}

describe('the octets of a message', () => {
  const rows: readonly [why: string, text: string, bare: boolean][] = [
    ['nothing is fine', '', false],
    ['lines that end in CRLF are fine', 'a\r\n\r\nb\r\n', false],
    ['a bare LF', 'a\nb\r\n', true],
    ['a bare LF at the very start', '\nb\r\n', true],
    ['a bare CR', 'a\rb\r\n', true],
    ['a bare CR at the end', 'a\r\n\r', true],
    ['two CR before an LF', 'a\r\r\n', true],
    ['NUL', 'a\0b\r\n', true],
  ];
  it.each(rows)('%s', (_why, text, bare) => {
    expect(checked([Buffer.from(text)]).bare).toBe(bare);
  });

  it('are judged the same wherever they are cut, and as a plain reading of them says', () => {
    const text = fc.array(fc.constantFrom('\r', '\n', '\r\n', 'a', 'bcd', '\0'), { maxLength: 30 });
    fc.assert(
      fc.property(text, fc.array(fc.nat(40), { maxLength: 6 }), (pieces, cuts) => {
        const whole = Buffer.from(pieces.join(''));
        const at = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b), whole.length];
        const parts = at.slice(1).map((end, nth) => whole.subarray(at[nth] ?? 0, end));
        const bare = /\0|(?<!\r)\n|\r(?!\n)/.test(whole.toString('latin1'));
        expect(checked(parts)).toEqual(checked([whole]));
        expect(checked([whole]).bare).toBe(bare);
        if (bare) return;
        const longest = Math.max(
          ...whole
            .toString('latin1')
            .split('\r\n')
            .map((line) => line.length),
        );
        expect(checked(parts).longestLine).toBe(longest);
      }),
    );
  });
});
