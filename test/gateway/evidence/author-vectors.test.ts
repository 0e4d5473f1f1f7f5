// Other people's lists of addresses, against the one rule that matters here: whoever we say wrote it is whom they read, or we say nobody.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { domainToASCII } from 'node:url';
import fc from 'fast-check';
import addressparser from 'nodemailer/lib/addressparser';
import { describe, expect, it } from 'vitest';
import { authorOf, readFrom } from '../../../gateway/evidence/author.ts';
import { strictMailboxes } from '../../../node/access/header/mailboxes.ts';
import { testdata } from '../../testdata.ts';

const folder = testdata('header-vectors');
const read = (name: string): string => (folder === undefined ? '' : readFileSync(path.join(folder, name), 'utf8'));
const json = <T>(name: string): T[] => (folder === undefined ? [] : (JSON.parse(read(name)) as T[]));
/** One a line; what stands behind a row of blanks and a hash sign is a remark. */
const lines = (name: string): string[] =>
  read(name)
    .split('\n')
    .map((line) => line.replace(/\s{2,}#.*$/, ''))
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));

const addressIn = (text: string): string | undefined => {
  const author = readFrom(Buffer.from(text));
  return author.kind === 'single' ? author.address : undefined;
};
/** Brackets and comments off, the domain as A-labels. */
function canonical(text: string): string {
  const plain = text
    .trim()
    .replace(/^.*<(.*)>$/, '$1')
    .replace(/\([^()]*\)/g, '')
    .trim()
    .toLowerCase();
  const at = plain.lastIndexOf('@');
  return `${plain.slice(0, at + 1)}${domainToASCII(plain.slice(at + 1))}`;
}

describe.skipIf(folder === undefined)('addresses of other suites (skipped where ../shared/testdata is absent)', () => {
  const valid = lines('flanker-mailbox_valid.txt');
  it('the lists are there', () => expect(valid.length).toBeGreaterThan(80));

  it.each(valid)('valid elsewhere: %s is read as it is, or as nobody', (text) => {
    expect([canonical(text), undefined]).toContain(addressIn(text)?.toLowerCase());
  });

  it('what people write is read, not just kept out', () => {
    // Quoted local parts, single labels and underscores in domains are what we do not take.
    const taken = valid.filter((text) => addressIn(text) !== undefined);
    expect(taken.length / valid.length).toBeGreaterThan(0.5);
  });

  // It looks like an A-label and does not decode: every reader shows and compares it as it is written.
  const fine = new Set(['test@xn--example.com']);
  it.each(lines('flanker-mailbox_invalid.txt').filter((text) => !fine.has(text)))(
    'invalid elsewhere: %s is nobody',
    (text) => {
      expect(addressIn(text)).toBeUndefined();
    },
  );

  interface List {
    readonly header: string;
    readonly expected: {
      readonly List?: readonly { readonly name: string | null; readonly address: string | null }[];
      readonly Group?: readonly unknown[];
    };
  }
  it.each(json<List>('mail-parser-address.json').map((one) => [JSON.stringify(one.header), one] as const))(
    'Stalwart’s parser and ours do not name two authors for %s',
    (_title, { header, expected }) => {
      const ours = addressIn(header);
      if (ours === undefined) return;
      expect(expected.List?.map(({ address }) => address?.toLowerCase())).toEqual([ours.toLowerCase()]);
    },
  );

  interface Message {
    readonly id: string;
    readonly raw_b64: string;
    readonly address: string;
    readonly display_name: string;
  }
  it.each(json<Message>('rspamd-from.json').map((one) => [one.id, one] as const))(
    'rspamd reads %s as we do',
    (_id, { raw_b64: raw, address }) => {
      const author = authorOf(
        Buffer.from(Buffer.from(raw, 'base64').toString('latin1').replace(/\n/g, '\r\n'), 'latin1'),
      );
      expect([address, undefined]).toContain(author.kind === 'single' ? author.address : undefined);
    },
  );
});

describe('two further parsers, whatever the field', () => {
  const piece = fc.constantFrom(
    ...'<>()[]:;@\\,". \t=?ab-'.split(''),
    'a@b.example',
    'c@d.example',
    '<a@b.example>',
    '"A" ',
    'Ann B. ',
    '(c)',
    '=?utf-8?Q?=40?=',
  );
  const field = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));

  it('see the author that we see: nodemailer’s, which shows one to programs, and the one that guards what users send', () => {
    let authors = 0;
    fc.assert(
      fc.property(field, (value) => {
        const ours = addressIn(value);
        if (ours === undefined) return;
        authors += 1;
        const theirs = addressparser(value, { flatten: true }).map(({ address }) => address.toLowerCase());
        expect(theirs).toEqual([ours]);
        const guarded = strictMailboxes(value);
        if (guarded !== undefined) expect(guarded.map((one) => one.toLowerCase())).toEqual([ours]);
      }),
      { numRuns: 5_000 },
    );
    expect(authors).toBeGreaterThan(50);
  });
});
