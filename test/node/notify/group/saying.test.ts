import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeEpoch,
  type Epoch,
  encodeEpoch,
  firstEpoch,
  maxMembers,
  nextEpoch,
} from '../../../../node/notify/group/epoch.ts';
import { openSaying, say } from '../../../../node/notify/group/saying.ts';
import { maxBodyBytes, maxSealedBytes } from '../../../../node/notify/lifetime.ts';
import { maxChannelFrameBytes } from '../../../../node/overlay/channel.ts';
import type { Address } from '../../../../policy/address.ts';
import { Network, type Person } from '../network.ts';

const network = new Network();
const [alice, bob, mallory] = [network.person('alice'), network.person('bob'), network.person('mallory')];
const addressOf = ({ certificate }: Person): Address => certificate.address;
const first = firstEpoch(addressOf(alice), [addressOf(bob)], 1);
const other = firstEpoch(addressOf(alice), [addressOf(bob), addressOf(mallory)], 1);

function said(by: Person, epoch: Epoch = first, body: Uint8Array = Buffer.from('hello')): Uint8Array {
  const from = { certificate: by.certificate, signing: by.keys.signing };
  return say({ epoch, from, seq: 7, body, now: network.now });
}

const open = (bytes: Uint8Array, ...epochs: Epoch[]) =>
  openSaying(bytes, new Map(epochs.map((epoch) => [epoch.number, epoch])), network.trust());

describe('what is said to a group', () => {
  it('opens for whoever has the key of its epoch, and says who said it, where and when', () => {
    expect(open(said(bob), first)).toMatchObject({
      kind: 'opened',
      from: { address: 'bob@example.org' },
      epoch: 1,
      seq: 7,
      at: network.now,
      body: new Uint8Array(Buffer.from('hello')),
    });
  });

  it('has an id of its own each time', () => {
    const ids = [said(bob), said(bob)]
      .map((bytes) => open(bytes, first))
      .map((one) => (one.kind === 'opened' ? one.id : one));
    expect(ids[0]).not.toEqual(ids[1]);
  });

  it('fits into a frame with the largest body, and takes not one byte more', () => {
    const bytes = said(bob, first, new Uint8Array(maxBodyBytes));
    expect(bytes.length).toBeLessThanOrEqual(Math.min(maxSealedBytes, maxChannelFrameBytes));
    expect(open(bytes, first)).toMatchObject({ kind: 'opened' });
    expect(() => said(bob, first, new Uint8Array(maxBodyBytes + 1))).toThrow();
  });

  it('waits where its epoch is not known yet, and is nothing where it is older than what is kept', () => {
    const second = nextEpoch(first, [addressOf(bob)], 2);
    expect(open(said(bob, second), first)).toMatchObject({ kind: 'later' });
    expect(open(said(bob, first), second)).toMatchObject({ kind: 'never', honest: true });
  });

  it.each<[string, Uint8Array, Epoch]>([
    ['under the key of another group', said(bob, other), first],
    ['by a member of the ring who is not in the group', said(mallory, { ...first }), first],
    ['that is larger than any', new Uint8Array(maxSealedBytes + 1), first],
    ['that is nothing', new Uint8Array(), first],
    ['under an epoch’s number and another’s key', said(bob, { ...first, key: other.key }), first],
    ['for another group under the same key', said(bob, { ...first, group: other.group }), first],
  ])('%s is none, and no honest member sends it on', (_, bytes, epoch) => {
    expect(open(bytes, epoch)).toMatchObject({ kind: 'never', honest: false });
  });

  it('by one who signs under another’s certificate is none', () => {
    const forged = say({
      epoch: first,
      from: { certificate: bob.certificate, signing: mallory.keys.signing },
      seq: 0,
      body: new Uint8Array(),
      now: network.now,
    });
    expect(open(forged, first)).toMatchObject({ kind: 'never', honest: false });
  });

  it('by one whose certificate is revoked is none, and who passes it on may not know that yet', () => {
    const ring = new Network();
    const carol = ring.person('carol');
    const epoch = firstEpoch(addressOf(carol), [], 1);
    const bytes = say({
      epoch,
      from: { ...carol, signing: carol.keys.signing },
      seq: 0,
      body: new Uint8Array(),
      now: 0,
    });
    const openThere = () => openSaying(bytes, new Map([[1, epoch]]), ring.trust());
    expect(openThere()).toMatchObject({ kind: 'opened' });
    ring.authority.revoke([carol.certificate.serial]);
    ring.revocations.offer(ring.authority.revocations());
    expect(openThere()).toMatchObject({ kind: 'never', honest: true });
  });

  it('with any bit changed is none, and never throws', () => {
    const bytes = said(bob);
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const changed = Uint8Array.from(bytes);
        changed[bit >> 3]! ^= 1 << (bit & 7);
        expect(open(changed, first).kind).not.toBe('opened');
      }),
    );
  });

  it('whatever the bytes, it never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(open(bytes, first).kind).not.toBe('opened');
      }),
    );
  });
});

describe('an epoch', () => {
  it('reads as it was written, by the name of who signed it', () => {
    expect(decodeEpoch(encodeEpoch(first), addressOf(alice))).toEqual(first);
  });

  it('from somebody else is not of this group', () => {
    const members = [...first.members, addressOf(mallory)];
    const stolen = decodeEpoch(encodeEpoch({ ...first, members }), addressOf(mallory));
    expect(stolen?.group).not.toEqual(first.group);
  });

  it('has the owner in it, a fresh key, and a number above the one before, though the clock went back', () => {
    const second = nextEpoch({ ...first, number: 100 }, [addressOf(mallory)], 50);
    expect(second.members).toEqual([addressOf(alice), addressOf(mallory)]);
    expect(second.number).toBe(101);
    expect(second.key).not.toEqual(first.key);
    expect(second.logSecret).toEqual(first.logSecret);
  });

  it('of the most members fits into one notification; with more, or with longer names than fit, there is none', () => {
    const many = (count: number, length: number): Address[] =>
      Array.from({ length: count }, (_, at) => `${String(at).padStart(length, 'x')}@example.org` as Address);
    expect(encodeEpoch(firstEpoch(addressOf(alice), many(maxMembers - 1, 12), 1)).length).toBeLessThanOrEqual(
      maxBodyBytes,
    );
    expect(() => firstEpoch(addressOf(alice), many(maxMembers, 12), 1)).toThrow('100 members');
    expect(() => firstEpoch(addressOf(alice), many(maxMembers - 1, 60), 1)).toThrow('fit');
  });

  it.each<[string, Uint8Array]>([
    ['of another kind', Buffer.from('a0', 'hex')],
    ['that is no CBOR', Buffer.from('hello')],
  ])('%s is a notification for somebody else to read', (_, bytes) => {
    expect(decodeEpoch(bytes, addressOf(alice))).toBeUndefined();
  });

  it('without the one who sent it is damaged', () => {
    expect(() => decodeEpoch(encodeEpoch({ ...first, members: [addressOf(bob)] }), addressOf(alice))).toThrow('owner');
  });
});
