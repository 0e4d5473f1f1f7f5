import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAddresses } from '../../../../node/access/header/addresses.ts';
import { bodyStructure } from '../../../../node/access/imap/message/body-structure.ts';
import { parseParameterised } from '../../../../node/access/imap/message/content-type.ts';
import { envelope } from '../../../../node/access/imap/message/envelope.ts';
import { type Section, sectionBytes } from '../../../../node/access/imap/message/section.ts';
import { type Part, parseStructure } from '../../../../node/access/imap/message/structure.ts';
import { testdata } from '../../../testdata.ts';

const crlf = (text: string): Buffer => Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1');

const nested = crlf(`Subject: outer
Content-Type: multipart/mixed; boundary="out"

preamble
--out

first
--out
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/alternative; boundary=in

--in
Content-Type: text/plain

plain
--in
Content-Type: text/html

<p>
--in--
--out
Content-Type: text/x-last; charset=utf-8
Content-Disposition: attachment; filename="a;b\\"c.txt" (comment)

last
--out--
epilogue
`);

function section(path: number[], kind: 'all' | 'header' | 'text' | 'mime' = 'all'): Section {
  return { path, text: { kind } };
}

describe('sections', () => {
  const top = parseStructure(nested);
  it.each<[string, Section, string | undefined]>([
    ['a part that has no header fields', section([1]), 'first'],
    ['the line end before a boundary is the boundary’s', section([3]), 'last'],
    [
      'an embedded message, whole',
      section([2]),
      crlf(
        'Subject: inner\nContent-Type: multipart/alternative; boundary=in\n\n--in\nContent-Type: text/plain\n\nplain\n--in\nContent-Type: text/html\n\n<p>\n--in--',
      ).toString(),
    ],
    [
      'its header',
      section([2], 'header'),
      'Subject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n',
    ],
    ['a part of it', section([2, 2]), '<p>'],
    ['the MIME header of that part', section([2, 2], 'mime'), 'Content-Type: text/html\r\n\r\n'],
    ['a part that is not there', section([4]), undefined],
    ['a part of a leaf', section([1, 1]), undefined],
    ['the header of what is no message', section([1], 'header'), undefined],
  ])('%s', (_, wanted, expected) => {
    expect(sectionBytes(nested, top, wanted)?.toString('latin1')).toBe(expected);
  });

  it('the only part of a message that is no multipart is its text', () => {
    const plain = crlf('Subject: x\n\nhello\n');
    const parsed = parseStructure(plain);
    expect(sectionBytes(plain, parsed, section([1]))?.toString()).toBe('hello\r\n');
    expect(sectionBytes(plain, parsed, section([2]))).toBeUndefined();
  });
});

describe('structures', () => {
  it('shows parts, parameters and dispositions', () => {
    expect(bodyStructure(nested, parseStructure(nested), true)).toBe(
      '(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 0 NIL NIL NIL NIL)' +
        '("message" "rfc822" NIL NIL NIL "7bit" 153 (NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) ' +
        '(("text" "plain" NIL NIL NIL "7bit" 5 0 NIL NIL NIL NIL)("text" "html" NIL NIL NIL "7bit" 3 0 NIL NIL NIL NIL) "alternative" ("boundary" "in") NIL NIL NIL) 11 NIL NIL NIL NIL)' +
        '("text" "x-last" ("charset" "utf-8") NIL NIL "7bit" 4 0 NIL ("attachment" ("filename" "a;b\\"c.txt")) NIL NIL) ' +
        '"mixed" ("boundary" "out") NIL NIL NIL)',
    );
  });

  it.each([
    ['a multipart that never begins', 'Content-Type: multipart/mixed; boundary=x\n\nnothing', 1],
    ['a multipart that never ends', 'Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x\n\nb', 2],
    [
      'an inner boundary that begins with the outer one',
      'Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=xx\n\n--xx\n\na\n--xx--\n--x\n\nb\n--x--',
      2,
    ],
    [
      'an inner multipart cut short by the outer boundary',
      'Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=y\n\n--y\n\na\n--x\n\nb\n--x--',
      2,
    ],
    [
      'a part whose header is cut short',
      'Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html\n--x\n\nb\n--x--',
      2,
    ],
    ['blanks after a boundary', 'Content-Type: multipart/mixed; boundary=x\n\n--x  \n\na\n--x-- \t\n', 1],
    ['bare LF throughout', 'Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x\n\nb\n--x--\n', 2],
  ])('%s', (why, text, parts) => {
    const bytes = why === 'bare LF throughout' ? Buffer.from(text) : crlf(text);
    const { content } = parseStructure(bytes);
    expect(content.kind === 'multipart' ? content.parts.length : 0).toBe(parts);
  });

  it('a thousand levels and ten thousand parts are cut, not followed', () => {
    const deep = Array.from(
      { length: 1_000 },
      (_, level) => `Content-Type: multipart/mixed; boundary=b${level}\n\n--b${level}\n`,
    ).join('');
    expect(depthOf(parseStructure(crlf(deep)))).toBeLessThan(60);
    const messages = 'Content-Type: message/rfc822\n\n'.repeat(1_000);
    expect(depthOf(parseStructure(crlf(messages)))).toBeLessThan(60);
    const wide = parseStructure(
      crlf(`Content-Type: multipart/mixed; boundary=x\n\n${'--x\n\na\n'.repeat(10_000)}--x--`),
    );
    expect(wide.content.kind === 'multipart' ? wide.content.parts.length : 0).toBeLessThan(1_001);
  });

  it('whatever the octets, every range lies inside its parent and the answer is balanced', () => {
    const piece = fc.constantFrom(
      '\r\n',
      '\n',
      '--x',
      '--y',
      '--x--',
      'Content-Type: ',
      'multipart/mixed; boundary=x',
      'multipart/digest; boundary="y"',
      'message/rfc822',
      'From: a <b@c>, (',
      ' ',
      '"',
      'text',
      '\0',
      'ü',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const bytes = Buffer.from(pieces.join(''), 'latin1');
        const top = parseStructure(bytes);
        checkRanges(top, 0, bytes.length);
        expectBalanced(bodyStructure(bytes, top, true));
        expectBalanced(envelope(bytes, top.fields));
      }),
      { numRuns: 500 },
    );
  });

  const corpus = testdata('mime-corpus') ?? '';
  it.skipIf(corpus === '')(
    'the whole corpus of odd messages is understood somehow (skipped where ../shared/testdata is absent)',
    () => {
      const files = readdirSync(corpus, { recursive: true, encoding: 'utf8' }).filter((name) =>
        /\.(eml|msg|mail|txt)$/i.test(name),
      );
      expect(files.length).toBeGreaterThan(100);
      for (const file of files) {
        const bytes = readFileSync(path.join(corpus, file));
        const top = parseStructure(bytes);
        checkRanges(top, 0, bytes.length);
        expectBalanced(bodyStructure(bytes, top, true));
        expectBalanced(envelope(bytes, top.fields));
      }
    },
  );
});

describe('addresses', () => {
  it.each([
    [
      'a name in quotes',
      '"Ann, the \\"first\\"" <ann@example.net>',
      [['Ann, the "first"', undefined, 'ann', 'example.net']],
    ],
    ['a name with a dot', 'J. R. Doe <j.doe@example.net>', [['J. R. Doe', undefined, 'j.doe', 'example.net']]],
    ['a name in a comment', 'ann@example.net (Ann)', [['Ann', undefined, 'ann', 'example.net']]],
    [
      'a route',
      '<@a.example,@b.example:ann@example.net>',
      [[undefined, '@a.example,@b.example', 'ann', 'example.net']],
    ],
    ['a quoted local part', '"a b"@example.net', [[undefined, undefined, 'a b', 'example.net']]],
    ['an address literal', 'a@[192.0.2.1]', [[undefined, undefined, 'a', '[192.0.2.1]']]],
    [
      'a group',
      'G: a@x.example, b@x.example; , c@x.example',
      [
        'G',
        [undefined, undefined, 'a', 'x.example'],
        [undefined, undefined, 'b', 'x.example'],
        'end',
        [undefined, undefined, 'c', 'x.example'],
      ],
    ],
    ['no domain', 'ann', [[undefined, undefined, 'ann', '']]],
    ['nothing', ' , ', []],
  ])('%s', (_, text, expected) => {
    const found = parseAddresses(text).map((entry) => {
      if (entry.kind === 'mailbox') return [entry.name, entry.route, entry.local, entry.host];
      return entry.kind === 'group-start' ? entry.name : 'end';
    });
    expect(found).toEqual(expected);
  });

  it('parameters are read past comments, blanks and missing quotes', () => {
    expect(parseParameterised('text/plain (c ; x=y) ; Name = "a\\"b" ; x=a b; =; y; charset=utf-8')).toEqual({
      value: 'text/plain',
      parameters: [
        ['name', 'a"b'],
        ['x', 'a'],
        ['charset', 'utf-8'],
      ],
    });
  });
});

function depthOf(part: Part): number {
  if (part.content.kind === 'message') return 1 + depthOf(part.content.message);
  return part.content.kind === 'multipart' ? 1 + Math.max(...part.content.parts.map(depthOf)) : 1;
}

function checkRanges(part: Part, start: number, end: number): void {
  const { header, body } = part;
  expect(
    start <= header.start &&
      header.start <= header.end &&
      header.end === body.start &&
      body.start <= body.end &&
      body.end <= end,
  ).toBe(true);
  if (part.content.kind === 'message') checkRanges(part.content.message, body.start, body.end);
  if (part.content.kind === 'multipart')
    for (const child of part.content.parts) checkRanges(child, body.start, body.end);
}

/** Brackets balance outside strings, and no octet stands where RFC 3501 allows none. */
function expectBalanced(text: string): void {
  const bare = text.replace(/"(?:[^"\\]|\\.)*"/g, '').replace(/\{(\d+)\}\r\n/g, '');
  if (text.includes('{')) return;
  expect(bare).toMatch(/^[A-Z0-9() ]*$/);
  let depth = 0;
  for (const character of bare) {
    if (character === '(') depth += 1;
    if (character === ')') depth -= 1;
    expect(depth).toBeGreaterThanOrEqual(0);
  }
  expect(depth).toBe(0);
}
