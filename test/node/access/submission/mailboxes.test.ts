import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { strictMailboxes } from '../../../../node/access/header/mailboxes.ts';

describe('the addresses that a verdict hangs on', () => {
  it.each<[string, string, readonly string[] | undefined]>([
    ['a bare address', 'a@x.example', ['a@x.example']],
    ['a name and an address', 'Ann B. <a@x.example>', ['a@x.example']],
    ['an address in quotes is a name', '"b@y.example" <a@x.example>', ['a@x.example']],
    ['an address in a comment is nothing', '(b@y.example) a@x.example (c <d@z.example>)', ['a@x.example']],
    ['an encoded name', '=?utf-8?q?=C3=84?= <a@x.example>', ['a@x.example']],
    ['several authors', 'a@x.example, "B" <b@y.example>', ['a@x.example', 'b@y.example']],
    ['no name before the brackets', '<a@x.example>', ['a@x.example']],
    ['UTF-8', 'Ä <ä@x.example>', ['ä@x.example']],
    ['a group', 'G: a@x.example;', undefined],
    ['a route', '<@r.example:a@x.example>', undefined],
    ['two pairs of brackets', '<b@y.example> <a@x.example>', undefined],
    ['an address outside the brackets', 'b@y.example <a@x.example>', undefined],
    ['a nested comment that another parser ends early', '(a(b)<a@evil.example>) x@bank.example', ['x@bank.example']],
    ['a comment that never ends', 'a@x.example (oops', undefined],
    ['a quoted string that never ends', '"oops <a@x.example>', undefined],
    ['a quoted local part', '"a b"@x.example', undefined],
    ['an empty entry', 'a@x.example,', undefined],
    ['nothing', '', undefined],
    ['no domain', 'alice', undefined],
    ['two at signs', 'a@b@x.example', undefined],
    ['a dot at the end', 'a.@x.example', undefined],
  ])('%s', (_, value, expected) => expect(strictMailboxes(value)).toEqual(expected));

  it('never throws, and every address it gives stands in the text', () => {
    const piece = fc.constantFrom('a', '@', '<', '>', '(', ')', '"', '\\', ',', ';', ':', '.', ' ', 'x.example', 'ü');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const text = pieces.join('');
        for (const address of strictMailboxes(text) ?? [])
          expect(address).toMatch(/^[^@<>()",;:\\ ]+@[^@<>()",;:\\ ]+$/);
      }),
      { numRuns: 1_000 },
    );
  });
});
