import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contentsOf, fetchMessage, type MessageRef, messageAtHand, storeMessage } from '../../../node/mail/message.ts';
import { decodeMessageRef, encodeMessageRef } from '../../../node/mail/message-ref.ts';
import type { Address } from '../../../policy/address.ts';
import { BlockShelf } from './block-shelf.ts';
import { base64Lines, noise, octets, withAttachment } from './messages.ts';

const lease = { identity: 'alice@example.org' as Address, until: 1 };
const salt = Buffer.alloc(32, 7);
const KiB = 1024;

async function stored(
  bytes: Uint8Array,
  shelf = new BlockShelf(),
  own = salt,
): Promise<{ shelf: BlockShelf; ref: MessageRef }> {
  return { shelf, ref: await storeMessage(shelf, bytes, { salt: own, lease }) };
}

async function roundTrip(bytes: Uint8Array): Promise<BlockShelf> {
  const { shelf, ref } = await stored(bytes);
  expect(Buffer.compare(await fetchMessage(shelf, decodeMessageRef(encodeMessageRef(ref))), bytes)).toBe(0);
  return shelf;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const attachment = noise(100 * KiB);
const text = base64Lines(attachment);

describe('a stored message comes back octet for octet', () => {
  const rows: readonly [string, Uint8Array][] = [
    ['an empty one', new Uint8Array()],
    ['one that is only a header', octets('Subject: x')],
    ['one that is no mail at all', noise(200 * KiB, 3)],
    ['plain text above the whole-message size', octets('Subject: x', '', 'line\r\n'.repeat(20_000))],
    ['a base64 attachment in CRLF lines', withAttachment(attachment)],
    ['a base64 attachment in LF lines', withAttachment(attachment, { eol: '\n' })],
    ['lines of an odd width', withAttachment(attachment, { width: 61 })],
    ['one line without end', withAttachment(attachment, { width: 1_000_000 })],
    ['an unencoded attachment', withAttachment(attachment, { encoding: 'binary' })],
    ['empty lines behind the data', withAttachment(attachment, { tail: '\r\n\r\n \r\n' })],
    ['a mailing list footer behind the data', withAttachment(attachment, { tail: '\r\n-- \r\nlist footer!\r\n' })],
    ['one line that is longer', withAttachment(attachment, { tail: 'AAAA' })],
    ['padding bits that are not zero', withAttachment(Buffer.concat([attachment, Buffer.of(1)]), { tail: 'x' })],
    [
      'mixed line ends',
      octets('Content-Transfer-Encoding: base64', '', text.replace('\r\n', '\n').replace('\n', '\r\n\n')),
    ],
    ['base64 as the whole body', octets('Content-Transfer-Encoding: base64', '', text, '')],
    ['base64 in the URL alphabet', octets('Content-Transfer-Encoding: base64', '', text.replaceAll('+', '-'), '')],
    [
      'a boundary that is never closed',
      Buffer.from(Buffer.from(withAttachment(attachment)).toString('latin1').replace('--=_b 1--', ''), 'latin1'),
    ],
    [
      'an attachment in a forwarded message',
      Buffer.concat([
        octets('Content-Type: multipart/mixed; boundary=outer', '', '--outer', 'Content-Type: message/rfc822', '', ''),
        withAttachment(attachment),
        octets('', '--outer--', ''),
      ]),
    ],
  ];
  it.each(rows)('%s', async (_why, bytes) => {
    await roundTrip(bytes);
  });

  it('whatever the octets are', async () => {
    const piece = fc.constantFrom(
      '\r\n',
      '\n',
      '\r',
      '--b',
      '--b--',
      '--',
      ' ',
      'Content-Type: multipart/mixed; boundary=b\r\n',
      'Content-Type: multipart/mixed; boundary="b--"\r\n',
      'Content-Type: message/rfc822\r\n',
      'Content-Transfer-Encoding: base64\r\n',
      'AAAA',
      'AA==',
      text,
      `${base64Lines(attachment, 64, '\n')}\n`,
      `x${text}`,
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 30 }), async (pieces) => {
        await roundTrip(Buffer.from(pieces.join(''), 'latin1'));
      }),
      { numRuns: 300 },
    );
  });
});

describe('what is stored once', () => {
  async function growth(first: Uint8Array, second: Uint8Array): Promise<number> {
    const { shelf } = await stored(first);
    const before = shelf.bytes;
    await stored(second, shelf, Buffer.alloc(32, 8));
    return shelf.bytes - before;
  }

  it.each([
    ['in another message', withAttachment(attachment, { subject: 'another' })],
    ['in lines of another width', withAttachment(attachment, { width: 60 })],
    ['with other line ends', withAttachment(attachment, { eol: '\n' })],
    ['as binary', withAttachment(attachment, { encoding: 'binary' })],
    ['with a list footer only outside the part', withAttachment(attachment, { tail: '\r\n\r\n' })],
  ])('an attachment that comes again %s', async (_why, again) => {
    expect(await growth(withAttachment(attachment), again)).toBeLessThan(2 * KiB);
  });

  it('the same message under the same salt: a retried job adds no block', async () => {
    const { shelf, ref } = await stored(withAttachment(attachment));
    const before = shelf.blocks.size;
    expect(await storeMessage(shelf, withAttachment(attachment), { salt, lease })).toEqual(ref);
    expect(shelf.blocks.size).toBe(before);
  });

  it('but nothing small is: two senders of the same short text share no block', async () => {
    const letter = octets('Subject: hello', '', 'the same words', '');
    const { shelf } = await stored(letter);
    await stored(letter, shelf, Buffer.alloc(32, 8));
    expect(shelf.blocks.size).toBe(2);
  });

  it('and an attachment below the threshold stays with its message', async () => {
    const small = withAttachment(noise(10 * KiB));
    const padded = Buffer.concat([small, Buffer.alloc(60 * KiB, 'x')]);
    const { shelf } = await stored(padded);
    const before = shelf.bytes;
    await stored(padded, shelf, Buffer.alloc(32, 8));
    expect(shelf.bytes).toBeGreaterThan(before + padded.length);
  });
});

describe('what it costs', () => {
  it('a small message is one block', async () => {
    expect((await roundTrip(withAttachment(noise(30 * KiB)))).inserted).toBe(1);
  });

  it('lists what keeps a message alive', async () => {
    const { shelf, ref } = await stored(withAttachment(attachment));
    const contents = await contentsOf(shelf, ref);
    expect(contents.map(({ size }) => size)).toEqual([ref.manifest.size, attachment.length]);
    expect(await contentsOf(new BlockShelf(), { ...ref, size: 100 })).toHaveLength(1);
  });

  it('a hostile nest of parts takes no more than its own length to cut', async () => {
    const nest = Array.from(
      { length: 3_000 },
      (_, i) => `Content-Type: multipart/mixed; boundary=b${i}\r\n\r\n--b${i}`,
    );
    await roundTrip(octets(...nest, 'x'.repeat(60 * KiB)));
    await roundTrip(octets('Content-Type: multipart/mixed; boundary=b', '', '--b\r\n\r\nx\r\n'.repeat(50_000)));
    await roundTrip(
      octets(`Content-Type: a;${' '.repeat(100_000)}`, '', '--'.repeat(100_000), '\r\n--'.repeat(100_000)),
    );
  });
});

describe('a message that is not there', () => {
  it('says missing where a block is gone from every holder', async () => {
    const { shelf, ref } = await stored(withAttachment(attachment));
    const leaf = (await contentsOf(shelf, ref))[1];
    shelf.blocks.delete(Buffer.from(leaf?.key ?? []).toString('hex'));
    await expect(fetchMessage(shelf, ref)).rejects.toMatchObject({ name: 'MailFault', code: 'missing' });
  });

  it.each([
    ['another size', (ref: MessageRef) => ({ ...ref, size: ref.size + 1 })],
    ['another hash', (ref: MessageRef) => ({ ...ref, hash: randomBytes(32) })],
    [
      'a manifest that is none',
      (ref: MessageRef) => ({ ...ref, manifest: { ...ref.manifest, secret: randomBytes(32) } }),
    ],
  ])('says damaged where the reference claims %s', async (_why, change) => {
    const { shelf, ref } = await stored(octets('Subject: x', '', 'text'));
    await expect(fetchMessage(shelf, change(ref))).rejects.toMatchObject({ code: 'damaged' });
  });

  it('is refused before anything is fetched where the reference claims more than a message can have', async () => {
    const { ref } = await stored(octets('Subject: x'));
    await expect(fetchMessage(new BlockShelf(), { ...ref, size: 36 * KiB * KiB })).rejects.toMatchObject({
      code: 'too-large',
    });
    await expect(stored(Buffer.alloc(35 * KiB * KiB + 1))).rejects.toMatchObject({ code: 'too-large' });
  });

  it('its hash is that of the octets', async () => {
    const bytes = octets('Subject: x', '', 'text');
    expect(Buffer.from((await stored(bytes)).ref.hash)).toEqual(createHash('sha256').update(bytes).digest());
  });
});

describe('a message at hand', () => {
  it('is the message where that is one block, whatever is in it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2_000 }), async (bytes) => {
        const { shelf, ref } = await stored(bytes);
        expect(Buffer.compare(messageAtHand(shelf, ref)!, bytes)).toBe(0);
      }),
    );
    const { shelf, ref } = await stored(noise(48 * KiB));
    expect(messageAtHand(shelf, ref)).toEqual(noise(48 * KiB));
  });

  const small = octets('Subject: x', '', 'line\r\n'.repeat(700));
  const rows: readonly [string, Uint8Array, (shelf: BlockShelf, ref: MessageRef) => MessageRef][] = [
    ['one of several blocks', withAttachment(attachment), (_, ref) => ref],
    ['one that is elsewhere', small, (shelf, ref) => (shelf.silent.add(hex(ref.manifest.key)), ref)],
    ['one that is nowhere', small, (shelf, ref) => (shelf.blocks.clear(), ref)],
    ['one of another hash than its reference says', small, (_, ref) => ({ ...ref, hash: Buffer.alloc(32, 1) })],
    ['one of another size', small, (_, ref) => ({ ...ref, size: ref.size - 1 })],
    [
      'one whose block does not open',
      small,
      (_, ref) => ({ ...ref, manifest: { ...ref.manifest, secret: Buffer.alloc(32) } }),
    ],
  ];
  it.each(rows)('is not %s: that is for fetchMessage to tell', async (_, bytes, change) => {
    const { shelf, ref } = await stored(bytes);
    expect(messageAtHand(shelf, change(shelf, ref))).toBeUndefined();
  });
});
