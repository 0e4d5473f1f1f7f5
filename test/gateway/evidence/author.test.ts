import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { authorOf, readFrom } from '../../../gateway/evidence/author.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
const single = (address: string, name = ''): object => ({ kind: 'single', address, name });
const ambiguous = { kind: 'ambiguous' };
const none = { kind: 'none' };

describe('the value of From', () => {
  const rows: readonly [why: string, value: string, expected: object][] = [
    ['a bare address is an author', 'a@example.net', single('a@example.net')],
    ['brackets alone are an author', '<a@example.net>', single('a@example.net')],
    ['a name in front', 'A Friend <a@Example.NET>', single('a@example.net', 'A Friend')],
    ['a quoted name', '"Friend, A." <a@example.net>', single('a@example.net', 'Friend, A.')],
    [
      'a dot in an unquoted name, as everybody writes it',
      'John Q. Public <j@example.net>',
      single('j@example.net', 'John Q. Public'),
    ],
    ['the old way to give a name', 'a@example.net (A Friend)', single('a@example.net', 'A Friend')],
    ['a folded field', 'A Friend\r\n <a@example.net>\r\n', single('a@example.net', 'A Friend')],
    ['an encoded name', '=?utf-8?Q?M=C3=BCller=2C_Hans?= <h@example.net>', single('h@example.net', 'Müller, Hans')],
    ['an encoded name in base64', '=?utf-8?B?w4RubmU=?= <a@example.net>', single('a@example.net', 'Änne')],
    ['an international domain as U-label', 'a@bücher.example', single('a@xn--bcher-kva.example')],
    ['an international domain as A-label', 'a@xn--bcher-kva.example', single('a@xn--bcher-kva.example')],
    ['an international local part', 'müller@example.net', single('müller@example.net')],
    [
      'a quoted address as a name is shown as a name',
      '"x@example.org" <a@example.net>',
      single('a@example.net', 'x@example.org'),
    ],
    [
      'line ends in an encoded word do not get out',
      '=?utf-8?B?YQ0KWC1FdmlsOiAx?= <a@example.net>',
      single('a@example.net', 'a X-Evil: 1'),
    ],
    ['direction marks do not get out', '"\u202eelpmaxe\u202c" <a@example.net>', single('a@example.net', 'elpmaxe')],
    ['an empty field names nobody', ' ', none],
    ['an empty group names nobody', 'undisclosed: ;', none],
    ['two addresses', '<a@example.net>, <b@example.org>', ambiguous],
    ['two addresses, one of them encoded', '=?utf-8?B?PGFAZXhhbXBsZS5uZXQ+?=,<b@example.org>', ambiguous],
    ['an encoded address in front of another', '=?utf-8?B?PGFAZXhhbXBsZS5uZXQ+?= <b@example.org>', ambiguous],
    ['a quoted address in brackets in front of another', '"<a@example.net>" <b@example.org>', ambiguous],
    ['the same address twice', 'a@example.net, a@example.net', ambiguous],
    ['an address where the name should be', 'a@example.net <b@example.org>', ambiguous],
    ['an address behind the address', '<a@example.net>b@example.org', ambiguous],
    ['a word behind the address', '<a@example.net> friend', ambiguous],
    ['a group with a member', 'friends: a@example.net;', ambiguous],
    ['a route', '<@example.org,@example.com:a@example.net>', ambiguous],
    ['a quoted pair outside quotes', '<a@example.net>\\,<b@example.org>', ambiguous],
    ['brackets in brackets', '<a@example.net <b@example.org>', ambiguous],
    ['brackets not closed', '<a@example.net', ambiguous],
    ['brackets not opened', 'a@example.net>', ambiguous],
    ['a quotation mark not closed', '"A <a@example.net>', ambiguous],
    ['a comment not closed', 'a@example.net (A', ambiguous],
    ['a comment in a comment', '(a(b)<a@example.org>) x@example.net', ambiguous],
    ['an address in a comment', 'a@example.net (b@example.org)', ambiguous],
    ['a comment inside the address', 'a(b)@example.net', ambiguous],
    ['white space inside the address', '<a @example.net>', ambiguous],
    ['two @', 'a@example.org@example.net', ambiguous],
    ['a quoted local part', '"a@example.org"@example.net', ambiguous],
    ['an address literal', '<a@[192.0.2.1]>', ambiguous],
    ['no address', 'A Friend', ambiguous],
    ['no domain', '<a@>', ambiguous],
    ['a dot too many in the local part', '<a..b@example.net>', ambiguous],
    ['an encoded word for an address', '<=?utf-8?B?RnJvbTo8aHJAYT4=?=>', ambiguous],
    ['an encoded word in an address', '<=?utf-8?Q?a?=@example.net>', ambiguous],
    ['NUL', '<a@example.net\0.example.org>', ambiguous],
    ['a line end that is no fold', 'a@example.net\r\nb@example.org', ambiguous],
    ['a noncharacter', '<a@example.net\uffffexample.org>', ambiguous],
    ['an ideographic full stop', '<a@example。net>', ambiguous],
    ['a soft hyphen', '<a@exa\u00admple.net>', ambiguous],
    ['a zero width space', '<a@example\u200b.net>', ambiguous],
    ['a Kelvin sign', '<a@ban\u212a.example>', ambiguous],
    ['a zero width space in the local part', '<a\u200bb@example.net>', ambiguous],
    ['a line longer than 998', `"${'x'.repeat(1000)}" <a@example.net>`, ambiguous],
    ['more than 2000 in all', `${'"x" '.repeat(20)}${`${'y'.repeat(400)}\r\n `.repeat(5)}<a@example.net>`, ambiguous],
  ];
  it.each(rows)('%s', (_why, value, expected) => {
    expect(readFrom(bytes(value))).toMatchObject(expected);
  });

  it('a name in an unlabelled old character set hides nothing', () => {
    expect(readFrom(Buffer.from('M\xfcller <a@example.net>', 'latin1'))).toMatchObject({ address: 'a@example.net' });
  });

  it('bytes that are not UTF-8 are in no address', () => {
    expect(readFrom(Buffer.from('<m\xfcller@example.net>', 'latin1'))).toMatchObject(ambiguous);
    expect(readFrom(Buffer.from('<a@m\xfcller.example>', 'latin1'))).toMatchObject(ambiguous);
  });
});

describe('which field is From', () => {
  const rows: readonly [why: string, header: string, expected: object][] = [
    [
      'one From field among others',
      'To: b@example.org\r\nFROM: a@example.net\r\nSender: c@example.org',
      single('a@example.net'),
    ],
    ['no From field', 'Sender: a@example.net', none],
    ['From in the body is body', 'To: b@example.org\r\n\r\nFrom: a@example.net', none],
    ['a message that begins with its body', '\r\nFrom: a@example.net', none],
    ['two From fields', 'From: a@example.net\r\nFrom: b@example.org', ambiguous],
    ['an empty From field and another', 'From:\r\nFrom: b@example.org', ambiguous],
    ['a second one with a space before the colon', 'From: a@example.net\r\nFrom : b@example.org', ambiguous],
    ['one with a space before the colon', 'From : a@example.net', ambiguous],
    ['one indented as the first line', ' From: a@example.net\r\nSubject: x', ambiguous],
    ['one indented before another', ' From: a@example.net\r\nFrom: b@example.org', ambiguous],
    ['one whose name is folded', 'From\r\n : a@example.net\r\nSender: b@example.org', ambiguous],
    ['a line without a colon before From', 'no colon here\r\nFrom: a@example.net', ambiguous],
    ['a second one behind a line without a colon', 'From: a@example.net\r\nno colon\r\nFrom: b@example.org', ambiguous],
    [
      'the separator of an mbox file on top',
      'From x@example.org Mon Jan  1 00:00:00 2024\r\nFrom: a@example.net',
      single('a@example.net'),
    ],
    ['such a line further down', 'Sender: b@example.org\r\nFrom x Mon Jan  1\r\nFrom: a@example.net', ambiguous],
    [
      'such a line and another stray one',
      'From x Mon Jan  1\r\nSender: b@example.org\r\nstray\r\nFrom: a@example.net',
      ambiguous,
    ],
    ['a line of white space before From', 'Subject: x\r\n  \r\nFrom: a@example.net', ambiguous],
    [
      'a line without a colon behind From changes nothing',
      'From: a@example.net\r\nno colon here',
      single('a@example.net'),
    ],
  ];
  it.each(rows)('%s', (_why, header, expected) => {
    expect(authorOf(bytes(`${header}\r\n\r\nbody\r\n`))).toMatchObject(expected);
  });
});

describe('whatever comes', () => {
  const alphabet = fc.constantFrom(
    ...'<>()[]:;@\\,". \t\r\n\0=?ab-üK\u212a\u200b'.split(''),
    'a@b.example',
    '=?utf-8?Q?=40?=',
  );
  const soup = fc.array(alphabet, { maxLength: 40 }).map((parts) => parts.join(''));

  it('the parser answers', () => {
    fc.assert(
      fc.property(fc.oneof(soup, fc.string()), (value) => {
        expect(['single', 'none', 'ambiguous']).toContain(readFrom(bytes(value)).kind);
      }),
    );
  });

  it('a single author has exactly one @, and its address stands in the field as it is', () => {
    fc.assert(
      fc.property(soup, (value) => {
        const author = readFrom(bytes(value));
        if (author.kind !== 'single') return;
        expect(value.toLowerCase().split('@').length - 1).toBeGreaterThan(0);
        expect(author.address.split('@')).toHaveLength(2);
        expect(value.toLowerCase()).toContain(author.address.slice(0, author.address.indexOf('@')));
      }),
    );
  });

  it('an author stays the same when another field is put around it, and is lost when a second From is', () => {
    fc.assert(
      fc.property(soup, (value) => {
        const alone = authorOf(bytes(`From: ${value.replace(/[\r\n]/g, ' ')}\r\n\r\n`));
        const between = authorOf(bytes(`X: 1\r\nFrom: ${value.replace(/[\r\n]/g, ' ')}\r\nY: 2\r\n\r\n`));
        expect(between).toEqual(alone);
        const twice = authorOf(bytes(`From: ${value.replace(/[\r\n]/g, ' ')}\r\nfrom: a@b.example\r\n\r\n`));
        expect(twice.kind).toBe('ambiguous');
      }),
    );
  });

  it('a header of 256 KiB made to be slow is read within a blink', () => {
    const hostile = [
      'From: '.repeat(40_000),
      `From: ${'('.repeat(200_000)}`,
      `From: ${'"\\'.repeat(100_000)}`,
      ' \r\n'.repeat(80_000),
    ];
    // Quadratic work would take minutes and end in the time-out.
    expect(hostile.map((header) => authorOf(bytes(header)).kind)).toEqual([
      'ambiguous',
      'ambiguous',
      'ambiguous',
      'none',
    ]);
  });
});
