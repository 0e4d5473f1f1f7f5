import { describe, expect, it } from 'vitest';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import { RevocationState } from '../../../node/identity/revocation.ts';
import { checkRound, hasEnded, type LeaseHolderFacts, makeRound, type Round } from '../../../node/store/round.ts';
import { address, issueUser, testDomain } from '../overlay/fake-overlay.ts';

const alice = address('alice@example.org');
const round = (completed: number, until: number): Round => ({ address: alice, begun: completed - 1, completed, until });
const grace = 1_000;

describe('a lease that lasts until 100', () => {
  const facts: LeaseHolderFacts = { round: undefined, goneSince: undefined };
  const rows: readonly [string, Partial<LeaseHolderFacts>, number, boolean][] = [
    ['keeps until it runs out, whatever is said', { round: round(120, 200), goneSince: 0 }, 99, false],
    ['keeps for ever when its identity says nothing', {}, 1e12, false],
    ['keeps when the last round was completed before it ran out', { round: round(100, 200) }, 1e12, false],
    ['keeps when the round vouches for no more than it', { round: round(120, 100) }, 1e12, false],
    ['ends when a round was completed after it ran out without it', { round: round(101, 200) }, 150, true],
    ['keeps for the grace time of an identity that is gone', { goneSince: 150 }, 1_150, false],
    ['ends after the grace time of an identity that is gone', { goneSince: 150 }, 1_151, true],
  ];
  it.each(rows)('%s', (_, known, now, ended) => {
    expect(hasEnded({ until: 100 }, { ...facts, ...known }, now, grace)).toBe(ended);
  });
});

describe('the statement of a refresh round', () => {
  const now = Date.now();
  const ca = CertificateAuthority.create(testDomain, [], () => now);
  const trust = { ring: ca.ring, revocations: new RevocationState(ca.ring, ca.revocations()), now };
  const user = issueUser(ca, 'alice@example.org');
  const by = { certificate: user.certificate, signing: user.keys.signing };
  const facts = round(now, now + 100);
  const mallory = issueUser(ca, 'mallory@example.org');

  it('holds under the key of its identity', () => {
    expect(checkRound(makeRound(facts, by), trust)).toEqual(facts);
  });

  it.each([
    ['signed by another', makeRound(facts, { ...by, signing: mallory.keys.signing })],
    ['of another, under his own certificate', makeRound(facts, { ...mallory, signing: mallory.keys.signing })],
    ['from a machine whose clock is far ahead', makeRound(round(now + 2 * 86_400_000, now + 3e9), by)],
    ['that ends before it begins', makeRound({ ...facts, begun: now + 1 }, by)],
    [
      'with another byte',
      { ...makeRound(facts, by), statement: makeRound(facts, by).statement.map((b, i) => (i === 40 ? b ^ 1 : b)) },
    ],
  ])('does not hold: %s', (_, stated) => {
    expect(checkRound(stated, trust)).toBeUndefined();
  });

  it('does not hold once the key is revoked', () => {
    const revocations = new RevocationState(ca.ring, ca.revoke([user.certificate.serial]));
    expect(checkRound(makeRound(facts, by), { ...trust, revocations })).toBeUndefined();
  });
});
