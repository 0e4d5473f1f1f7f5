import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chunkPieces, dataPieces } from '../../../../gateway/relay/smtp/message-lines.ts';

const asData = (text: string, step = 1_000): string =>
  Buffer.concat([...dataPieces(Buffer.from(text, 'latin1'), step)]).toString('latin1');
const asChunk = (text: string, step = 1_000): string =>
  Buffer.concat([...chunkPieces(Buffer.from(text, 'latin1'), step)]).toString('latin1');

describe('a message as DATA carries it', () => {
  const rows: readonly [why: string, text: string, wanted: string][] = [
    ['lines as they are', 'a\r\nb\r\n', 'a\r\nb\r\n.\r\n'],
    ['a dot at the start of a line gets another (RFC 5321 §4.5.2)', '.\r\n..\r\na.\r\n', '..\r\n...\r\na.\r\n.\r\n'],
    ['without a line end at the end one is put there', 'a', 'a\r\n.\r\n'],
    ['nothing is an empty message', '', '.\r\n'],
    ['a bare LF is a line end', 'a\n.\nb', 'a\r\n..\r\nb\r\n.\r\n'],
    ['a bare CR is a line end', 'a\r.\rb\r\n', 'a\r\n..\r\nb\r\n.\r\n'],
    ['CR CR LF is two', 'a\r\r\nb', 'a\r\n\r\nb\r\n.\r\n'],
    [
      'what would end the data somewhere else does not',
      'a\n.\r\nMAIL FROM:<x@y>\r\n',
      'a\r\n..\r\nMAIL FROM:<x@y>\r\n.\r\n',
    ],
  ];
  it.for(rows)('%s', ([, text, wanted]) => {
    for (const step of [1, 2, 3, 4, 1_000]) expect(asData(text, step)).toBe(wanted);
  });

  const message = fc.string({ unit: fc.constantFrom('a', '.', '\r', '\n', '\r\n', '\xe9'), maxLength: 60 });

  it('never has a bare CR or LF, ends once, and is what was sent', () => {
    fc.assert(
      fc.property(message, fc.integer({ min: 1, max: 9 }), (text, step) => {
        const sent = asData(text, step);
        expect(sent.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
        expect(sent.endsWith('.\r\n')).toBe(true);
        expect(`\r\n${sent}`.indexOf('\r\n.\r\n')).toBe(sent.length - 3);
        const lines = sent.slice(0, -3).replaceAll(/^\./gm, '');
        expect(lines).toBe(asChunk(text, step));
        const strict = text.replaceAll(/\r\n|\r|\n/g, '\r\n');
        expect(lines).toBe(strict === '' || strict.endsWith('\r\n') ? strict : `${strict}\r\n`);
      }),
    );
  });
});
