import { encode } from '@ipld/dag-cbor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeLetter, encodeLetter, type Letter } from '../../../node/mail/letter.ts';
import { encodeMessageRef, type MessageRef } from '../../../node/mail/message-ref.ts';

const message: MessageRef = {
  manifest: { key: Buffer.alloc(32, 1), secret: Buffer.alloc(32, 2), size: 5_000_000, kind: 'tree' },
  size: 7_000_000,
  hash: Buffer.alloc(32, 3),
};
const mail: Letter = {
  kind: 'mail',
  message,
  envelope: { from: '', to: 'bob+tag@example.org', requireTls: true },
  folder: 'junk',
  trace: 'abc',
  provenance: Buffer.alloc(2_560, 4),
};
const relay: Letter = {
  kind: 'relay',
  message,
  envelope: {
    from: 'alice@example.org',
    to: ['Carol@example.net', 'dave@example.net'],
    dsn: [null, { notify: ['SUCCESS', 'FAILURE'], orcpt: 'rfc822;dave@example.net' }],
    ret: 'HDRS',
    envid: 'QQ314159',
    requireTls: true,
  },
  trace: 'abc',
};
const raw = {
  v: 1,
  kind: 'mail',
  message: encodeMessageRef(message),
  envelope: { from: '', to: 'b@c' },
  folder: 'inbox',
  trace: '',
};

/** Typed arrays of any make compare as what they hold. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

describe('a letter', () => {
  it.each([
    ['to a mailbox', mail],
    ['to the gateway', relay],
  ])('%s is read as it was written', (_why, letter) => {
    expect(plain(decodeLetter(encodeLetter(letter)))).toEqual(plain(letter));
  });

  it('that is longer than a notification takes is not written', () => {
    const to = Array.from({ length: 20 }, (_, i) => `${'a'.repeat(250)}${i}@example.net`);
    const long: Letter = { ...relay, envelope: { from: '', to } };
    expect(() => encodeLetter(long)).toThrow(expect.objectContaining({ code: 'too-large' }));
  });

  it.each([
    ['no DAG-CBOR', Buffer.from('x')],
    ['another version', encode({ ...raw, v: 2 })],
    ['an unknown field', encode({ ...raw, more: 1 })],
    ['a folder of the sender’s choice', encode({ ...raw, folder: 'Sent' })],
    ['a short reference', encode({ ...raw, message: Buffer.alloc(10) })],
    ['a size beyond all messages', encode({ ...raw, message: encodeMessageRef({ ...message, size: 2 ** 40 }) })],
    ['an endless address', encode({ ...raw, envelope: { from: 'a'.repeat(400), to: 'b@c' } })],
    ['no recipient for the gateway', encode({ ...raw, kind: 'relay', envelope: { from: '', to: [] } })],
  ])('with %s is refused', (_why, bytes) => {
    expect(() => decodeLetter(bytes)).toThrow(expect.objectContaining({ name: 'MailFault' }));
  });

  it('of any octets is read or refused, never a fault of another kind', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(() => decodeLetter(bytes)).toThrow(expect.objectContaining({ name: 'MailFault' }));
      }),
    );
  });
});
