import { encode } from '@ipld/dag-cbor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seal } from '../../../node/identity/seal.ts';
import { encodeSigned, signBytes } from '../../../node/identity/signed.ts';
import { clockSkewMs, lifetimeMs, maxBodyBytes, maxSealedBytes } from '../../../node/notify/lifetime.ts';
import { compose, decodeOuter, notificationId, openSealed, type Sealed } from '../../../node/notify/sealed.ts';
import { Network, type Person } from './network.ts';

const network = new Network();
const alice = network.person('alice');
const bob = network.person('bob');
const mallory = network.person('mallory');
const name = Buffer.from('message 1');
const body = Buffer.from('the body');
const from = (person: Person) => ({ certificate: person.certificate, signing: person.keys.signing });
const write = (changes: Partial<Parameters<typeof compose>[0]> = {}): Sealed =>
  compose({ from: from(alice), to: bob.certificate, id: name, body, now: network.now, ...changes });
const read = (sealed: Uint8Array, me: Person = bob, now = network.now) =>
  openSealed({ sealed, me, trust: { ...network.trust(), now }, now });

/** Seals whatever is put inside to bob, as somebody who knows the format would. */
function forge(payload: unknown, signer: Person, certificate: Uint8Array, id: Uint8Array): Uint8Array {
  const to = bob.certificate.signingKey;
  const signed = encodeSigned(signBytes('notification', encode(payload), signer.keys.signing));
  const context = Buffer.concat([Buffer.from('epost/notification\0'), id, to]);
  const box = seal(bob.certificate.sealingKey, encode({ signed, certificate }), context);
  return encode({ v: 1, id, to, box });
}

const id = notificationId(alice.certificate.address, name);
const inside = (changes: object = {}) => ({
  v: 1,
  name,
  at: network.now,
  from: [alice.certificate.address, alice.certificate.serial],
  to: [bob.certificate.address, bob.certificate.signingKey, bob.certificate.sealingKey],
  body,
  ...changes,
});

describe('a sealed notification', () => {
  it('opens for its recipient, and says who signed what and when', () => {
    const opened = read(write().bytes);
    expect(opened).toMatchObject({ kind: 'opened', at: network.now, from: { address: 'alice@example.org' } });
    expect(opened.kind === 'opened' && Buffer.from(opened.body).toString()).toBe('the body');
    expect(opened.kind === 'opened' && Buffer.from(opened.id)).toEqual(Buffer.from(write().id));
  });

  it('takes the largest body there may be, and not one byte more', () => {
    expect(write({ body: Buffer.alloc(maxBodyBytes) }).bytes.length).toBeLessThanOrEqual(maxSealedBytes);
    expect(() => write({ body: Buffer.alloc(maxBodyBytes + 1) })).toThrow(/4097 bytes/);
  });

  it('has the same id each time the same sender gives it the same name, and another for another sender', () => {
    expect(Buffer.from(write().id)).toEqual(Buffer.from(write({ body: Buffer.from('other') }).id));
    expect(Buffer.from(write().id)).not.toEqual(Buffer.from(write({ from: from(mallory) }).id));
  });

  it('does not show the sender or the body outside', () => {
    const bytes = Buffer.from(write().bytes);
    expect(bytes.includes('alice')).toBe(false);
    expect(bytes.includes('the body')).toBe(false);
  });

  const day = 86_400_000;
  const outer = decodeOuter(write().bytes);
  const refusals: [why: string, sealed: Uint8Array, code: string, me?: Person, now?: number][] = [
    ['bytes that are nothing', Buffer.from('nothing'), 'malformed'],
    ['more bytes than a notification has', Buffer.alloc(maxSealedBytes + 1), 'malformed'],
    ['another recipient’s notification is not mine', write({ to: mallory.certificate }).bytes, 'wrong-addressee'],
    [
      'one for another, redirected to me from outside, does not open',
      encode({ v: 1, id: outer.id, to: mallory.certificate.signingKey, box: outer.box }),
      'not-sealed-to-me',
      mallory,
    ],
    [
      'an id that was changed outside does not open',
      encode({ v: 1, ...outer, id: Buffer.alloc(32) }),
      'not-sealed-to-me',
    ],
    [
      'another’s notification signed again as one’s own has another id inside',
      forge(
        inside({ from: [mallory.certificate.address, mallory.certificate.serial] }),
        mallory,
        mallory.certificate.bytes,
        id,
      ),
      'disagrees',
    ],
    [
      'another’s name under one’s own certificate',
      forge(inside(), mallory, mallory.certificate.bytes, id),
      'disagrees',
    ],
    ['another’s certificate over one’s own signature', forge(inside(), mallory, alice.certificate.bytes, id), 'forged'],
    [
      'what was signed for somebody else, sealed on to me by him',
      forge(
        inside({ to: [mallory.certificate.address, mallory.certificate.signingKey, mallory.certificate.sealingKey] }),
        alice,
        alice.certificate.bytes,
        id,
      ),
      'wrong-addressee',
    ],
    [
      'an id inside that is not the one outside',
      forge(inside({ name: Buffer.from('2') }), alice, alice.certificate.bytes, id),
      'disagrees',
    ],
    ['a certificate of no authority of ours', forge(inside(), alice, Buffer.alloc(100), id), 'sender-invalid'],
    ['yesterday’s fortnight is over', write().bytes, 'expired', bob, network.now + lifetimeMs + clockSkewMs + 1],
    ['a time further ahead than clocks differ', write({ now: network.now + clockSkewMs + 1 }).bytes, 'early'],
    [
      'a revocation list that is too old proves nothing',
      write({ now: network.now + 35 * day }).bytes,
      'sender-unproven',
      bob,
      network.now + 35 * day,
    ],
    ['an inside with a field more', forge(inside({ more: 1 }), alice, alice.certificate.bytes, id), 'malformed'],
  ];
  it.each(refusals)('is refused: %s', (_why, sealed, code, me = bob, now = network.now) => {
    expect(read(sealed, me, now)).toMatchObject({ kind: 'refused', code });
  });

  it('is refused when its sender has been revoked', () => {
    const other = new Network();
    const eve = other.person('eve');
    const me = other.person('bob');
    const sealed = compose({ from: from(eve), to: me.certificate, id: name, body, now: other.now });
    const open = () => openSealed({ sealed: sealed.bytes, me, trust: other.trust(), now: other.now });
    expect(open()).toMatchObject({ kind: 'opened' });
    other.revocations.offer(other.authority.revoke([eve.certificate.serial]));
    expect(open()).toMatchObject({ kind: 'refused', code: 'sender-revoked' });
  });

  it('never opens with any bit changed', () => {
    const { bytes } = write();
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Uint8Array.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ change;
        expect(read(changed).kind).toBe('refused');
      }),
      { numRuns: 300 },
    );
  });

  it('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(read(bytes).kind).toBe('refused');
      }),
    );
  });
});
