import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fieldValue, readFields } from '../../../../node/access/header/fields.ts';

describe('the fields of one name', () => {
  it('are those that reading all of them gives, whatever the header', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        'Subject: a\r\n',
        'SUBJECT : b\n',
        '_x: c\r\n',
        ' folded\r\n',
        'no colon\r\n',
        '@: d\r\n',
        '`: e\r\n',
        '\r\n',
      ),
      fc.string({ maxLength: 12 }),
    );
    const name = fc.constantFrom('subject', '_x', '@', '`', 's');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), name, (pieces, only) => {
        const header = Buffer.from(pieces.join(''), 'latin1');
        const range = { start: 0, end: header.length };
        const values = (fields: ReturnType<typeof readFields>): string[] =>
          fields.filter((field) => field.name === only).map((field) => fieldValue(header, field));
        expect(values(readFields(header, range, only))).toEqual(values(readFields(header, range)));
      }),
    );
  });
});
