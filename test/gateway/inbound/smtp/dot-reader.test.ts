import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DotReader } from '../../../../gateway/inbound/smtp/dot-reader.ts';

interface Outcome {
  readonly message: string;
  /** What came after the end; undefined where there was none. */
  readonly rest: string | undefined;
}

function read(pieces: readonly string[]): Outcome {
  const reader = new DotReader();
  let message = '';
  for (const [nth, piece] of pieces.entries()) {
    const { octets, rest } = reader.add(Buffer.from(piece, 'latin1'));
    message += Buffer.from(octets).toString('latin1');
    if (rest !== undefined) return { message, rest: rest.toString('latin1') + pieces.slice(nth + 1).join('') };
  }
  return { message, rest: undefined };
}

/** The same as RFC 5321 §4.5.2 says it, of the whole at once. */
function plainly(text: string): Outcome {
  const end = `\r\n${text}`.indexOf('\r\n.\r\n');
  const body = end < 0 ? text : text.slice(0, end);
  return {
    message: `\r\n${body}`.replaceAll('\r\n.', '\r\n').slice(2),
    rest: end < 0 ? undefined : text.slice(end + 3),
  };
}

const cut = (text: string, step: number): string[] => text.match(new RegExp(`[^]{1,${step}}`, 'g')) ?? [];

describe('the end of a message, and dots that were stuffed', () => {
  const rows: readonly [why: string, text: string, message: string, rest: string | undefined][] = [
    ['an empty message', '.\r\n', '', ''],
    ['a message', 'a\r\n.\r\n', 'a\r\n', ''],
    ['what follows is not of it', 'a\r\n.\r\nQUIT\r\n', 'a\r\n', 'QUIT\r\n'],
    ['a stuffed dot', '..\r\n.\r\n', '.\r\n', ''],
    ['a dot before text is taken away (RFC 5321 §4.5.2)', '.a\r\n.\r\n', 'a\r\n', ''],
    ['dots within a line stay', 'a..b\r\n.\r\n', 'a..b\r\n', ''],
    ['an end that was stuffed is none', '..\r\nx\r\n.\r\n', '.\r\nx\r\n', ''],
    ['a dot and a blank', 'a\r\n. \r\n.\r\n', 'a\r\n \r\n', ''],
    ['two ends: the first counts', 'a\r\n.\r\n.\r\n', 'a\r\n', '.\r\n'],
  ];
  it.for(rows)('%s', ([, text, message, rest]) => {
    for (const step of [1, 2, 3, 4, 5, 1_000]) expect(read(cut(text, step))).toEqual({ message, rest });
  });

  it.for([
    '\n.\n',
    '\n.\r\n',
    '\r.\r',
    '\r.\r\n',
    '\r\n.\n',
    '\r\n.\r',
    '\r\n.\r\r\n',
    '\r\n\0.\r\n',
    '\r\r.\r\n',
    '\n\r.\r\n',
  ])('%j ends nothing', (sequence) => {
    for (const step of [1, 2, 3, 1_000]) expect(read(cut(`a${sequence}b`, step)).rest).toBeUndefined();
  });

  it('is found wherever the octets are cut, as a plain reading of them says', () => {
    const text = fc.array(fc.constantFrom('\r', '\n', '\r\n', '.', 'a', '\r\n.', '\r\n..'), { maxLength: 25 });
    fc.assert(
      fc.property(text, fc.array(fc.nat(50), { maxLength: 8 }), (units, cuts) => {
        const whole = `${units.join('')}\r\n.\r\nrest`;
        const at = [0, ...cuts.map((one) => Math.min(one, whole.length)).sort((a, b) => a - b), whole.length];
        const pieces = at.slice(1).map((end, nth) => whole.slice(at[nth], end));
        expect(read(pieces)).toEqual(plainly(whole));
        expect(read(cut(whole, 1))).toEqual(plainly(whole));
      }),
      { numRuns: 2_000 },
    );
  });

  it('costs the same for dots as for anything else: each piece is passed through once', () => {
    const dots = Buffer.from('..\r\n'.repeat(16_000));
    const reader = new DotReader();
    let octets = 0;
    for (let i = 0; i < 100; i += 1) octets += reader.add(Buffer.from(dots)).octets.length;
    expect(octets).toBe(100 * 16_000 * 3);
  });
});
