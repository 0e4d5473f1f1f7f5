import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { authorOf } from '../../../node/mail/author.ts';
import { octets } from './messages.ts';

const from = (...lines: readonly string[]): Uint8Array => Buffer.from([...lines, '', 'text'].join('\r\n'));

describe('the author of a message written in the ring', () => {
  it.each([
    ['an address alone', 'From: alice@example.org'],
    ['an address in angle brackets', 'from:<alice@example.org>'],
    ['a display name', 'From: Alice A. Liddell <alice@example.org>'],
    ['a quoted display name, whatever is in it', 'From: "bob@example.org, \\"Bob\\" <b@c>" <Alice@Example.org>'],
    ['a display name in UTF-8', 'From: Älice <alice@example.org>'],
    ['an encoded word', 'From: =?utf-8?q?=C3=84lice?= <alice@example.org>'],
    ['a folded field', 'From: Alice\r\n <alice@example.org>'],
    ['a harmless comment', 'From: alice@example.org (Alice)'],
  ])('is found in %s', (_why, line) => {
    expect(authorOf(from('Subject: x', line, 'To: b@c'))).toEqual({ kind: 'single', address: 'alice@example.org' });
  });

  it.each([
    ['there is no From field', ['Subject: x']],
    ['it stands in the body only', ['Subject: x', '', 'From: alice@example.org']],
    ['there are two From fields', ['From: alice@example.org', 'FROM : bob@example.org']],
    ['two addresses are listed', ['From: alice@example.org, bob@example.org']],
    ['an address stands in the display name', ['From: bob@example.org <alice@example.org>']],
    ['there are two pairs of brackets', ['From: <bob@example.org> <alice@example.org>']],
    ['something follows the brackets', ['From: <alice@example.org> bob']],
    ['a comment holds an address', ['From: alice@example.org (<bob@example.org>)']],
    ['comments are nested', ['From: (a(b)<bob@example.org>) alice@example.org']],
    ['it is a group', ['From: us: alice@example.org;']],
    ['a quotation mark is not closed', ['From: "Alice <alice@example.org>']],
    ['the local part is quoted', ['From: "alice"@example.org']],
    ['the domain is an address literal', ['From: alice@[127.0.0.1]']],
    ['there is a space in the address', ['From: alice @ example.org <']],
    ['it is empty', ['From:']],
    ['a bare CR could hide a second one', ['From: alice@example.org\rFrom: bob@example.org']],
    ['it is longer than anybody reads', [`From: ${'a '.repeat(2_000)}<alice@example.org>`]],
  ])('is unclear where %s', (_why, lines) => {
    expect(authorOf(from(...lines)).kind).toBe('unclear');
  });

  it('is looked for in any octets without a fault, in time', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => authorOf(bytes).kind !== undefined));
    const part = fc.constantFrom(
      'From:',
      ' ',
      '"',
      '\\',
      '(',
      ')',
      '<',
      '>',
      '@',
      'a',
      'b.c',
      ',',
      ';',
      '\r\n',
      '\n',
      '\t',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
        const author = authorOf(octets(parts.join('')));
        if (author.kind === 'single') expect(parts.join('')).toContain('@');
      }),
    );
    expect(authorOf(Buffer.from(`From: ${'(a'.repeat(1_000_000)}`)).kind).toBe('unclear');
    expect(authorOf(Buffer.from('\n \t'.repeat(1_000_000))).kind).toBe('unclear');
  });
});
