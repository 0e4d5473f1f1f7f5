import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCommand } from '../../../../node/access/imap/command/parse.ts';
import { formatDateTime, parseDateTime } from '../../../../node/access/imap/wire/date-time.ts';
import type { Segment } from '../../../../node/access/imap/wire/framer.ts';
import { decodeMailboxName, encodeMailboxName } from '../../../../node/access/imap/wire/mailbox-name.ts';
import { formatSet, normalRanges, parseSequenceSet } from '../../../../node/access/imap/wire/sequence-set.ts';

/** `‹…›` stands for a literal. */
function segments(text: string): Segment[] {
  return text
    .split(/[‹›]/)
    .map((part, index) => ({ kind: index % 2 === 0 ? 'text' : 'literal', bytes: Buffer.from(part) }));
}

const parsed = (text: string): unknown => {
  const result = parseCommand(segments(text));
  return result.kind === 'command' ? result.command : `BAD ${result.reason}`;
};

describe('commands', () => {
  it.each([
    [
      'a quoted string may hold escaped quotes',
      'a LOGIN "a\\"b" "c\\\\d"',
      { name: 'login', username: 'a"b', password: 'c\\d' },
    ],
    ['a literal is a string', 'a LOGIN ‹al ice› ‹p"w›', { name: 'login', username: 'al ice', password: 'p"w' }],
    ['an empty password is a string', 'a LOGIN x ""', { name: 'login', username: 'x', password: '' }],
    [
      'names are in any case',
      'a sElEcT inbox',
      { name: 'select', mailbox: 'INBOX', condstore: false, resync: undefined },
    ],
    [
      'only INBOX itself is case-insensitive',
      'a SELECT inbox/x',
      { name: 'select', mailbox: 'inbox/x', condstore: false, resync: undefined },
    ],
    [
      'modified UTF-7 is decoded',
      'a SELECT "~peter/mail/&U,BTFw-/&ZeVnLIqe-"',
      { name: 'select', mailbox: '~peter/mail/台北/日本語', condstore: false, resync: undefined },
    ],
    [
      'an initial response follows its mechanism',
      'a AUTHENTICATE plain AAA=',
      { name: 'authenticate', mechanism: 'PLAIN', initial: 'AAA=' },
    ],
    [
      'APPEND takes flags and a date, or none',
      'a APPEND x (\\Seen $Junk) "01-Jan-2020 00:00:00 +0100" ‹m›',
      {
        name: 'append',
        mailbox: 'x',
        flags: ['\\Seen', '$Junk'],
        internalDate: Date.UTC(2019, 11, 31, 23),
        message: Buffer.from('m'),
        utf8: false,
      },
    ],
    [
      'a STORE by UID',
      'a UID STORE 1:3,7 -FLAGS.SILENT \\Seen kept',
      {
        name: 'store',
        messages: {
          by: 'uid',
          set: [
            { from: 1, to: 3 },
            { from: 7, to: 7 },
          ],
        },
        mode: 'remove',
        silent: true,
        flags: ['\\Seen', 'kept'],
        unchangedSince: undefined,
      },
    ],
    [
      'a part, a text of it, a piece of that',
      'a FETCH * BODY.PEEK[1.2.HEADER.FIELDS.NOT (a "b")]<0.10>',
      {
        name: 'fetch',
        messages: { by: 'sequence', set: [{ from: '*', to: '*' }] },
        items: [
          {
            kind: 'section',
            label: 'BODY[1.2.HEADER.FIELDS.NOT (a b)]',
            section: { path: [1, 2], text: { kind: 'fields', not: true, names: ['a', 'b'] } },
            partial: { offset: 0, count: 10 },
            peek: true,
          },
        ],
        changedSince: undefined,
        vanished: false,
      },
    ],
    [
      'a SELECT that says what was known',
      'a SELECT x (QRESYNC (67890007 90060115194045000 41:211 (1 1)))',
      {
        name: 'select',
        mailbox: 'x',
        condstore: false,
        resync: { uidValidity: 67890007, modseq: Number.MAX_SAFE_INTEGER, knownUids: [{ from: 41, to: 211 }] },
      },
    ],
    [
      'a FETCH of what has changed, and of what has gone',
      'a UID FETCH 1:* FLAGS (CHANGEDSINCE 12345 VANISHED)',
      {
        name: 'fetch',
        messages: { by: 'uid', set: [{ from: 1, to: '*' }] },
        items: [{ kind: 'flags' }],
        changedSince: 12345,
        vanished: true,
      },
    ],
    [
      'what a search saved is a set of messages',
      'a SEARCH RETURN (SAVE MIN) $ MODSEQ "/flags/\\\\draft" all 7',
      {
        name: 'search',
        by: 'sequence',
        returns: new Set(['SAVE', 'MIN']),
        program: {
          charset: undefined,
          key: {
            kind: 'and',
            keys: [
              { kind: 'messages', by: 'sequence', set: 'saved' },
              { kind: 'modseq', from: 7 },
            ],
          },
        },
      },
    ],
    [
      'keys that stand together must all hold',
      'a SEARCH (SEEN 1) OR NOT UID 5 LARGER 9',
      {
        name: 'search',
        by: 'sequence',
        program: {
          charset: undefined,
          key: {
            kind: 'and',
            keys: [
              {
                kind: 'and',
                keys: [
                  { kind: 'flag', flag: '\\Seen', set: true },
                  { kind: 'messages', by: 'sequence', set: [{ from: 1, to: 1 }] },
                ],
              },
              {
                kind: 'or',
                keys: [
                  { kind: 'not', key: { kind: 'messages', by: 'uid', set: [{ from: 5, to: 5 }] } },
                  { kind: 'size', larger: 9, smaller: undefined },
                ],
              },
            ],
          },
        },
      },
    ],
  ])('%s', (_, text, expected) => expect(parsed(text)).toEqual(expected));

  it.each([
    ['a FETCH 1', 'expected " "'],
    ['a FETCH 0 FLAGS', 'expected a set of message numbers'],
    ['a FETCH 1: FLAGS', 'expected a set of message numbers'],
    ['a FETCH 4294967296 FLAGS', 'a message number has at most 32 bits'],
    ['a FETCH 1 (FLAGS', 'expected " "'],
    ['a FETCH 1 ()', 'FETCH names at least one item'],
    ['a FETCH 1 BODY[HEADER.FIELDS]', 'expected " "'],
    ['a FETCH 1 BODY[1.]', 'the section ends in a dot'],
    ['a FETCH 1 BODY[0]', 'unknown section'],
    ['a FETCH 1 BODY[]<0.0>', 'a partial asks for at least one octet'],
    ['a LOGIN x', 'expected " "'],
    ['a LOGIN "x y', 'the quoted string does not end'],
    ['a SELECT x y', 'expected "("'],
    ['a SELECT x (QRESYNC (1))', 'expected " "'],
    ['a FETCH 1 FLAGS (VANISHED)', 'VANISHED goes with UID FETCH and CHANGEDSINCE'],
    ['a SEARCH RETURN (ALL) MODSEQ x', 'expected a mod-sequence'],
    ['a SELECT &ZZ', 'the mailbox name is not valid modified UTF-7'],
    ['a APPEND x "yesterday" ‹m›', 'expected a date-time such as "17-Jul-1996 02:44:25 -0700"'],
    ['a STATUS x (COLOUR)', 'unknown STATUS item COLOUR'],
    [`a SEARCH ${'NOT '.repeat(60)}ALL`, 'the search is too complicated'],
    [`a SEARCH ${'SEEN 1 '.repeat(300)}ALL`, 'the search is too complicated'],
    [`a SEARCH ${'('.repeat(60)}ALL${')'.repeat(60)}`, 'the search is too complicated'],
    ['a', 'expected " "'],
    ['', 'expected a tag'],
    ['+ NOOP', 'expected a tag'],
  ])('%s is refused: %s', (text, reason) => expect(parsed(text)).toBe(`BAD ${reason}`));

  it('nothing that is sent makes the parser throw', () => {
    const word = fc.constantFrom(
      'a',
      'UID',
      'FETCH',
      'SEARCH',
      'STORE',
      'LIST',
      'APPEND',
      '1:*',
      '(',
      ')',
      '"',
      '\\',
      'BODY[',
      ']',
      '<',
      'NOT',
      'OR',
      '‹',
      '›',
      '%',
      '{',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(word, fc.string({ maxLength: 4 }), fc.constant(' '))), (words) => {
        expect(['command', 'bad']).toContain(parseCommand(segments(`a ${words.join(' ')}`)).kind);
        expect(['command', 'bad']).toContain(parseCommand(segments(words.join(''))).kind);
      }),
      { numRuns: 500 },
    );
  });
});

describe('what commands are made of', () => {
  it('a mailbox name comes back from its wire form, which is printable ASCII', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }).filter((name) => name.isWellFormed()),
        (name) => {
          const wire = encodeMailboxName(name);
          expect(wire).toMatch(/^[\x20-\x7e]*$/);
          expect(decodeMailboxName(wire)).toBe(name);
        },
      ),
    );
  });

  it('a date-time comes back from its wire form to the second', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000 }), (seconds) => {
        expect(parseDateTime(formatDateTime(seconds * 1000))).toBe(seconds * 1000);
      }),
    );
  });

  it('a set names exactly its numbers, whatever the order, and is written shortest', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), (numbers) => {
        const sorted = [...numbers].sort((a, b) => a - b);
        const read = normalRanges(parseSequenceSet(numbers.join(',')), 60);
        expect(
          read.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, index) => from + index)),
        ).toEqual(sorted);
        expect(formatSet(sorted)).toBe(
          read.map(({ from, to }) => (from === to ? `${from}` : `${from}:${to}`)).join(','),
        );
      }),
    );
  });

  it('RFC 3501 §6.4.8: n:* names the last message even when n is larger', () => {
    expect(normalRanges(parseSequenceSet('9:*'), 4)).toEqual([{ from: 4, to: 9 }]);
    expect(normalRanges(parseSequenceSet('*,2'), 4)).toEqual([
      { from: 2, to: 2 },
      { from: 4, to: 4 },
    ]);
  });
});
