import { describe, expect, it } from 'vitest';
import { previewText } from '../../../../node/access/imap/message/preview.ts';
import { parseStructure } from '../../../../node/access/imap/message/structure.ts';
import { decodedPart } from '../../../../node/access/imap/message/transfer-encoding.ts';
import { withoutBinary } from '../../../../node/access/imap/message/without-binary.ts';

const message = (lines: readonly string[]): Buffer => Buffer.from(lines.join('\r\n'), 'latin1');

async function decoded(lines: readonly string[], path: readonly number[]): Promise<string | undefined> {
  const bytes = message(lines);
  const answer = await decodedPart(bytes, parseStructure(bytes), path);
  return Buffer.isBuffer(answer) ? answer.toString('latin1') : answer;
}

describe('a part with its transfer encoding undone (RFC 3516)', () => {
  it.each([
    ['base64', 'SGVsbG8A\r\n/w==', 'Hello\0\xff'],
    ['BASE64 ', 'SGVs bG8=', 'Hello'],
    ['quoted-printable', 'a=3D=\r\nb=FF \r\nc', 'a=b\xff\r\nc'],
    ['8bit', 'as it is', 'as it is'],
    ['x-uue', 'begin', 'unknown-encoding'],
  ])('%s', async (encoding, body, wanted) => {
    expect(await decoded([`Content-Transfer-Encoding: ${encoding}`, '', body], [1])).toBe(wanted);
  });

  it('a part that is not there has no octets', async () => {
    expect(await decoded(['a: b', '', 'x'], [2])).toBeUndefined();
  });

  it('large parts come out the same whatever the slices', async () => {
    const bytes = Buffer.alloc(3_000_001, 'some octets with no regular length. ');
    const lines = bytes.toString('base64').replace(/.{76}/g, '$&\r\n');
    const whole = Buffer.from(`Content-Transfer-Encoding: base64\r\n\r\n${lines}`);
    const answer = await decodedPart(whole, parseStructure(whole), [1]);
    expect(Buffer.isBuffer(answer) && answer.equals(bytes)).toBe(true);
  });
});

describe('a message with NUL octets in it', () => {
  it('is stored with its binary parts as base64, which BODY[] can show', async () => {
    const bytes = message([
      'Content-Type: multipart/mixed; boundary=b',
      'Content-Transfer-Encoding: binary',
      '',
      '--b',
      'Content-Transfer-Encoding: binary',
      '',
      'a\0b\n',
      '--b',
      '',
      'plain',
      '--b--',
      '',
    ]);
    const stored = await withoutBinary(bytes);
    expect(stored.includes(0)).toBe(false);
    expect(stored.toString('latin1')).toContain(
      'Content-Transfer-Encoding: base64\r\n\r\nYQBiCg==\r\n--b\r\n\r\nplain',
    );
    expect(stored.toString('latin1')).toContain('Content-Transfer-Encoding: 8bit\r\n\r\n--b');
    const part = await decodedPart(stored, parseStructure(stored), [1]);
    expect(String(part)).toBe('a\0b\n');
  });

  it('stays as it is without NUL, or where nothing is marked as binary', async () => {
    for (const lines of [
      ['Content-Transfer-Encoding: binary', '', 'a'],
      ['a: b', '', 'a\0b'],
    ]) {
      const bytes = message(lines);
      expect(await withoutBinary(bytes)).toBe(bytes);
    }
  });
});

describe('the first words of a message (RFC 8970)', () => {
  const preview = (lines: readonly string[]): string => {
    const bytes = message(lines);
    return previewText(bytes, parseStructure(bytes));
  };

  it.each([
    ['a text', ['', 'Hello\r\n\r\n  Alice'], 'Hello Alice'],
    [
      'HTML without its tags, styles and entities',
      [
        'Content-Type: text/html',
        '',
        '<html><head><style>p {x}</style></head><p>Fish&nbsp;&amp; <b>chips</b><script>alert(1)</script>',
      ],
      'Fish & chips',
    ],
    ['nothing', ['Content-Type: image/png', '', 'x'], ''],
    ['no more than 200 characters', ['', 'é'.repeat(500)], 'é'.repeat(200)],
  ])('%s', (_, lines, wanted) => {
    const encoded = lines.map((line) => Buffer.from(line).toString('latin1'));
    expect(preview(encoded)).toBe(wanted);
  });
});
