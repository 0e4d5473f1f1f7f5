import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { RevocationState } from '../../../node/identity/revocation.ts';
import { MemberTable } from '../../../node/overlay/member-table.ts';
import { maxAddresses, readNodeRecord, signNodeRecord } from '../../../node/overlay/node-record.ts';
import type { Member } from '../../../node/overlay/overlay.ts';
import { compareDistance, nearest, positionOf } from '../../../node/overlay/placement.ts';
import { address, testDomain } from './fake-overlay.ts';

const day = 86_400_000;

function world() {
  let time = Date.UTC(2026, 10, 1);
  const now = (): number => time;
  const ca = CertificateAuthority.create(testDomain, [], now);
  const revocations = new RevocationState(ca.ring, ca.revocations());
  const table = new MemberTable({ ring: ca.ring, revocations, now });
  const node = (days = 10) => {
    const key = signingKeyFromSeed(randomBytes(32));
    const certificate = ca.issueNode({ peerKey: key.public, owner: address('alice@example.org'), days });
    const proof = (sequence: number, addresses: string[] = [], ring = testDomain) => ({
      certificate: certificate.bytes,
      record: signNodeRecord({ ring, addresses, sequence }, key),
    });
    return { key, certificate, proof };
  };
  const later = (ms: number): void => {
    time += ms;
  };
  return { ca, revocations, table, node, later };
}

describe('the member table', () => {
  it('takes a higher sequence over, with its addresses, and no lower or equal one', () => {
    const { table, node } = world();
    const { proof, certificate } = node();
    const here = '/ip4/10.0.0.1/tcp/1';
    const there = '/ip4/10.0.0.2/tcp/2';
    expect(table.offer(proof(5, [here])).kind).toBe('joined');
    expect(table.offer(proof(4, [there])).kind).toBe('known');
    expect(table.offer(proof(5, [there])).kind).toBe('known');
    expect(table.get(certificate.peerId)?.member.addresses).toEqual([here]);
    expect(table.offer(proof(6, [there])).kind).toBe('renewed');
    expect(table.get(certificate.peerId)?.member.addresses).toEqual([there]);
  });

  it('takes a renewed certificate over, and keeps the newer record when the two come apart', () => {
    const { table, node, ca, later } = world();
    const { proof, certificate } = node(10);
    table.offer(proof(9, ['/ip4/10.0.0.1/tcp/1']));
    later(day);
    const renewed = ca.issueNode({ peerKey: certificate.peerKey, owner: certificate.owner, days: 10 });
    expect(table.offer({ certificate: renewed.bytes, record: proof(3).record }).kind).toBe('renewed');
    const entry = table.get(certificate.peerId);
    expect([entry?.member.certificate.serial, entry?.sequence]).toEqual([renewed.serial, 9]);
    expect(table.offer(proof(9)).kind).toBe('known');
    expect(table.offer(proof(10)).kind).toBe('renewed');
    expect(table.get(certificate.peerId)?.member.certificate.serial).toBe(renewed.serial);
  });

  it.each([
    [
      'a record of another ring',
      (w: ReturnType<typeof world>) => w.node().proof(1, [], 'other.example' as typeof testDomain),
    ],
    [
      'a record of another node',
      (w: ReturnType<typeof world>) => ({ certificate: w.node().certificate.bytes, record: w.node().proof(1).record }),
    ],
    ['a certificate of another authority', () => world().node().proof(1)],
    ['a certificate that expired', (w: ReturnType<typeof world>) => w.node(-1).proof(1)],
    ['garbage', () => ({ certificate: new Uint8Array(9), record: new Uint8Array(9) })],
  ])('refuses %s', (_why, make) => {
    const w = world();
    expect(w.table.offer(make(w)).kind).toBe('refused');
    expect(w.table.members()).toEqual([]);
  });

  it('drops who is revoked or expired from every answer at once, and from memory when swept', () => {
    const { table, node, ca, revocations, later } = world();
    const [revoked, short, kept] = [node(), node(1), node()];
    for (const { proof } of [revoked, short, kept]) table.offer(proof(1));
    revocations.offer(ca.revoke([revoked.certificate.serial]));
    expect(table.members()).toHaveLength(2);
    later(2 * day);
    expect(table.closest(new Uint8Array(32), 9).map((member) => member.peerId)).toEqual([kept.certificate.peerId]);
    const gone = new Map(table.sweep().map((one) => [one.member.peerId, one.revoked]));
    expect(gone).toEqual(
      new Map([
        [revoked.certificate.peerId, true],
        [short.certificate.peerId, false],
      ]),
    );
    expect(table.offer(revoked.proof(2)).kind).toBe('refused');
  });
});

describe('a node record', () => {
  const key = signingKeyFromSeed(randomBytes(32));
  const sign = (addresses: string[]) => signNodeRecord({ ring: testDomain, addresses, sequence: 1 }, key);

  it('comes back under its key and no other', () => {
    const record = {
      ring: testDomain,
      addresses: ['/ip4/127.0.0.1/tcp/4001', '/dns4/node.example.org/tcp/1'],
      sequence: 7,
    };
    const bytes = signNodeRecord(record, key);
    expect(readNodeRecord(bytes, key.public)).toEqual(record);
    expect(readNodeRecord(bytes, signingKeyFromSeed(randomBytes(32)).public)).toBeUndefined();
  });

  it.each([
    ['more addresses than a machine has', Array.from({ length: maxAddresses + 1 }, (_, n) => `/ip4/10.0.0.${n}/tcp/1`)],
    ['an address that is none', ['http://example.org']],
    [
      'an address with another peer in it',
      ['/ip4/10.0.0.1/tcp/1/p2p/12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf'],
    ],
    ['an address without end', [`/dns4/${'a'.repeat(300)}/tcp/1`]],
  ])('with %s is not made', (_why, addresses) => {
    expect(() => sign(addresses)).toThrow(/./);
  });
});

describe('distance', () => {
  it('is a strict order: nearest to itself, the same from both sides, no ties between different places', () => {
    const place = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(place, place, place, (key, left, right) => {
        const there = compareDistance(key, left, right);
        expect(Math.sign(there)).toBe(-Math.sign(compareDistance(key, right, left)) + 0);
        expect(there === 0).toBe(Buffer.compare(left, right) === 0);
        expect(compareDistance(key, key, left)).toBeLessThanOrEqual(0);
      }),
    );
  });

  it('finds the same nearest as sorting everything would', () => {
    const place = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(
        place,
        fc.uniqueArray(place, { maxLength: 30, comparator: (x, y) => Buffer.compare(x, y) === 0 }),
        fc.nat(40),
        (key, places, count) => {
          const placed = places.map((position, n) => ({ position, member: { peerId: String(n) } as Member }));
          const sorted = [...placed].sort((left, right) => compareDistance(key, left.position, right.position));
          expect(nearest(placed, key, count)).toEqual(sorted.slice(0, count).map(({ member }) => member));
        },
      ),
    );
  });

  it('counts the first differing byte, not the last', () => {
    const at = (first: number, last: number): Uint8Array => new Uint8Array(32).fill(first, 0, 1).fill(last, 31);
    expect(compareDistance(new Uint8Array(32), at(1, 255), at(2, 0))).toBeLessThan(0);
  });

  it('uses the hash of the key, so that nobody chooses his place', () => {
    expect(Buffer.from(positionOf(new Uint8Array(32))).toString('hex')).toBe(
      '66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925',
    );
  });
});
