import { describe, expect, it } from 'vitest';
import { authorityStateShape, CertificateAuthority } from '../../../node/identity/authority.ts';
import { checkIdentityCertificate, checkNodeCertificate } from '../../../node/identity/certificate.ts';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import {
  encodeRevocations,
  maxRevocationBytes,
  maxRevokedSerials,
  RevocationState,
} from '../../../node/identity/revocation.ts';
import { decodeRing, encodeRing } from '../../../node/identity/ring.ts';
import { type Domain, parseDomain } from '../../../policy/address.ts';
import { address } from '../overlay/fake-overlay.ts';

const day = 86_400_000;
const start = Date.UTC(2026, 10, 1);
const domain = (text: string): Domain => {
  const parsed = parseDomain(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
};

function world(name = 'example.org') {
  let time = start;
  const ca = CertificateAuthority.create(domain(name), [domain('example.net')], () => time);
  const keys = generateIdentityKeys();
  const subject = {
    kind: 'user',
    address: address('alice@example.org'),
    signingKey: keys.signing.public,
    sealingKey: keys.sealing.public,
    days: 100,
  } as const;
  return {
    ca,
    keys,
    subject,
    at: (ms: number) => {
      time = ms;
    },
    trust: (revocations?: Uint8Array, now = start) => ({
      ring: ca.ring,
      revocations: new RevocationState(ca.ring, revocations),
      now,
    }),
  };
}

describe('an identity certificate', () => {
  it('is valid under its authority with a fresh list, and says what was certified', () => {
    const { ca, subject, trust } = world();
    const certificate = ca.issueIdentity(subject);
    const check = checkIdentityCertificate(certificate.bytes, trust(ca.revocations()));
    expect(check).toEqual({ kind: 'valid', certificate });
    expect(certificate).toMatchObject({ kind: 'user', address: 'alice@example.org', ring: 'example.org' });
  });

  it('may be for any domain that the ring serves and no other', () => {
    const { ca, subject, trust } = world();
    const list = ca.revocations();
    const served = ca.issueIdentity({ ...subject, address: address('bob@example.net') });
    const foreign = ca.issueIdentity({ ...subject, address: address('bob@example.com') });
    expect(checkIdentityCertificate(served.bytes, trust(list)).kind).toBe('valid');
    expect(checkIdentityCertificate(foreign.bytes, trust(list)).kind).toBe('invalid');
  });

  it.each([
    ['before its time, which a clock that is behind makes of any', -day, 'unknown'],
    ['a slow clock away from its beginning', -60_000, 'valid'],
    ['at its last moment', 100 * day, 'unknown'],
    ['after its time', 100 * day + 1, 'invalid'],
    ['when the list is out of date', 31 * day, 'unknown'],
  ])('%s is judged so', (_why, offset, kind) => {
    const { ca, subject, trust } = world();
    const certificate = ca.issueIdentity(subject);
    expect(checkIdentityCertificate(certificate.bytes, trust(ca.revocations(), start + offset)).kind).toBe(kind);
  });

  it('without any list is unknown, which is not valid', () => {
    const { ca, subject, trust } = world();
    expect(checkIdentityCertificate(ca.issueIdentity(subject).bytes, trust()).kind).toBe('unknown');
  });

  it('is revoked by its serial, also when the list is out of date', () => {
    const { ca, subject, trust } = world();
    const [gone, kept] = [ca.issueIdentity(subject), ca.issueIdentity(subject)];
    const list = ca.revoke([gone.serial]);
    expect(checkIdentityCertificate(gone.bytes, trust(list)).kind).toBe('revoked');
    expect(checkIdentityCertificate(gone.bytes, trust(list, start + 60 * day)).kind).toBe('revoked');
    expect(checkIdentityCertificate(kept.bytes, trust(list)).kind).toBe('valid');
  });

  it('of another authority with the same ring name is invalid', () => {
    const [one, other] = [world(), world()];
    expect(checkIdentityCertificate(other.ca.issueIdentity(other.subject).bytes, one.trust()).kind).toBe('invalid');
  });

  it('is no node certificate, and a node certificate is no identity', () => {
    const { ca, subject, trust, keys } = world();
    const node = ca.issueNode({ peerKey: keys.signing.public, owner: subject.address, days: 1 });
    expect(checkNodeCertificate(node.bytes, trust(ca.revocations()))).toEqual({ kind: 'valid', certificate: node });
    expect(checkNodeCertificate(ca.issueIdentity(subject).bytes, trust()).kind).toBe('invalid');
    expect(checkIdentityCertificate(node.bytes, trust()).kind).toBe('invalid');
  });

  it('with any byte changed is invalid', () => {
    const { ca, subject, trust } = world();
    const { bytes } = ca.issueIdentity(subject);
    const facts = trust(ca.revocations());
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 4;
      expect(checkIdentityCertificate(changed, facts).kind).toBe('invalid');
    }
  });

  it('for an address that is not canonical is never issued', () => {
    const { ca, subject } = world();
    expect(() => ca.issueIdentity({ ...subject, address: 'Alice@Example.org' as typeof subject.address })).toThrow(
      /canonical/,
    );
  });
});

describe('revocation lists', () => {
  it('a newer one replaces an older one and never the other way round', () => {
    const { ca, subject } = world();
    const state = new RevocationState(ca.ring);
    const { serial } = ca.issueIdentity(subject);
    const [first, second] = [ca.revocations(), ca.revoke([serial])];
    expect(state.offer(second)).toBe('newer');
    expect(state.offer(first)).toBe('old');
    expect(state.offer(second)).toBe('old');
    expect(state.isRevoked(serial)).toBe(true);
    expect(Buffer.compare(state.bytes() ?? new Uint8Array(), second)).toBe(0);
  });

  it('of another authority, or damaged, are invalid and change nothing', () => {
    const [{ ca }, other] = [world(), world()];
    const state = new RevocationState(ca.ring, ca.revocations());
    const damaged = ca.revocations();
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    expect(state.offer(other.ca.revocations())).toBe('invalid');
    expect(state.offer(damaged)).toBe('invalid');
    expect(state.current()?.version).toBe(1);
  });

  it('at their longest fit their bound, and longer ones are not made', () => {
    const { ca } = world();
    const serials = Array.from({ length: maxRevokedSerials }, (_, n) => n.toString(16).padStart(32, 'f'));
    const list = ca.revoke(serials);
    expect(list.length).toBeLessThan(maxRevocationBytes);
    const state = new RevocationState(ca.ring);
    expect(state.offer(list)).toBe('newer');
    expect(state.isRevoked(serials[4_321] ?? '')).toBe(true);
    const key = generateIdentityKeys().signing;
    const longer = { version: 1, issuedAt: 0, nextUpdate: 1, serials: [...serials, '0'.repeat(32)], standings: [] };
    expect(() => encodeRevocations(longer, ca.ring, key)).toThrow(RangeError);
  });

  it('say whom the authority blocks or slows: by address, by domain or by ring, until it takes that back', () => {
    const { ca } = world();
    const state = new RevocationState(ca.ring);
    const of = (address: string): string => state.standingOf(address, 'far.ring');
    ca.setStanding('eve@example.org', 'blocked');
    state.offer(ca.setStanding('other.example', 'slowed'));
    expect([of('eve@example.org'), of('x@other.example'), of('x@example.org')]).toEqual(['blocked', 'slowed', 'good']);
    state.offer(ca.setStanding('far.ring', 'blocked'));
    expect(of('x@example.org')).toBe('blocked');
    const again = CertificateAuthority.fromKey(ca.exportKey(), JSON.parse(JSON.stringify(ca.state())), Date.now);
    state.offer(again.setStanding('far.ring', 'good'));
    expect([of('x@example.org'), of('eve@example.org')]).toEqual(['good', 'blocked']);
    for (let n = 0; n < 197; n += 1) ca.setStanding(`${n}@example.org`, 'slowed');
    expect(() => ca.setStanding('one@too.many', 'slowed')).toThrow(RangeError);
  });

  it('forget certificates that expired anyway', () => {
    const { ca, subject, at } = world();
    const [short, long] = [ca.issueIdentity({ ...subject, days: 5 }), ca.issueIdentity(subject)];
    ca.revoke([short.serial, long.serial]);
    at(start + 7 * day);
    const state = new RevocationState(ca.ring, ca.revocations());
    expect([state.isRevoked(short.serial), state.isRevoked(long.serial)]).toEqual([false, true]);
    expect(ca.issued().map(({ serial, revoked }) => [serial, revoked])).toEqual([[long.serial, true]]);
  });
});

describe('the authority', () => {
  it('goes on from its key and state as if it had never stopped', () => {
    const { ca, subject, trust } = world();
    const { serial } = ca.issueIdentity(subject);
    ca.revoke([serial]);
    const state: unknown = JSON.parse(JSON.stringify(ca.state()));
    const again = CertificateAuthority.fromKey(ca.exportKey(), state, () => start);
    const list = new RevocationState(ca.ring, again.revocations());
    expect(list.current()?.version).toBe(2);
    expect(list.isRevoked(serial)).toBe(true);
    expect(checkIdentityCertificate(again.issueIdentity(subject).bytes, trust(ca.revocations())).kind).toBe('valid');
    expect(Buffer.compare(again.ringBytes(), ca.ringBytes())).toBe(0);
  });

  it('refuses a state that is damaged', () => {
    const { ca } = world();
    expect(() =>
      CertificateAuthority.fromKey(ca.exportKey(), { ...ca.state(), listVersion: 'x' }, () => start),
    ).toThrow(/listVersion/);
    expect(authorityStateShape.safeParse({}).success).toBe(false);
  });

  it('never gives a serial twice', () => {
    const { ca, subject } = world();
    expect(new Set(Array.from({ length: 200 }, () => ca.issueIdentity(subject).serial)).size).toBe(200);
  });
});

describe('the ring descriptor', () => {
  it('comes back from its bytes', () => {
    const { ca } = world();
    expect(decodeRing(ca.ringBytes())).toEqual({ kind: 'valid', ring: ca.ring });
  });

  it('that another key signed is refused: nobody can put his words into an authority’s mouth', () => {
    const { ca } = world();
    expect(decodeRing(encodeRing(ca.ring, generateIdentityKeys().signing)).kind).toBe('invalid');
  });

  it.each([
    ['nothing', new Uint8Array()],
    ['text', Buffer.from('ring')],
    ['more than its bound', new Uint8Array(50_000)],
  ])('%s is none', (_why, bytes) => {
    expect(decodeRing(bytes).kind).toBe('invalid');
  });

  it('must serve the domain it is named for', () => {
    const { ca } = world();
    const key = generateIdentityKeys().signing;
    const ring = { ...ca.ring, domains: [domain('example.net')], caKey: key.public };
    expect(decodeRing(encodeRing(ring, key)).kind).toBe('invalid');
  });
});

describe('a certificate that was proven before', () => {
  it('is judged anew each time: by the clock, the revocation list and the ring of that moment', () => {
    const { ca, subject, trust } = world();
    const certificate = ca.issueIdentity(subject);
    const list = ca.revocations();
    const kindAt = (revocations: Uint8Array | undefined, now: number): string =>
      checkIdentityCertificate(certificate.bytes, trust(revocations, now)).kind;
    expect(kindAt(list, start)).toBe('valid');
    expect(kindAt(list, start + 101 * day)).toBe('invalid');
    expect(kindAt(undefined, start)).toBe('unknown');
    ca.revoke([certificate.serial]);
    expect(kindAt(ca.revocations(), start)).toBe('revoked');
  });

  it('is none of another authority’s, and no certificate of another kind', () => {
    const { ca, subject, trust } = world();
    const { bytes } = ca.issueIdentity(subject);
    expect(checkIdentityCertificate(bytes, trust(ca.revocations())).kind).toBe('valid');
    expect(checkIdentityCertificate(bytes, world().trust()).kind).toBe('invalid');
    expect(checkNodeCertificate(bytes, trust(ca.revocations())).kind).toBe('invalid');
  });

  it('is not proven when one octet differs', () => {
    const { ca, subject, trust } = world();
    const { bytes } = ca.issueIdentity(subject);
    const list = ca.revocations();
    expect(checkIdentityCertificate(bytes, trust(list)).kind).toBe('valid');
    const changed = Uint8Array.from(bytes);
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    expect(checkIdentityCertificate(changed, trust(list)).kind).toBe('invalid');
  });
});
