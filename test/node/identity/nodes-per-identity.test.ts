import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { AuthorityFault, CertificateAuthority } from '../../../node/identity/authority.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { decodeRing, defaultNodesPerIdentity, nodesPerIdentity } from '../../../node/identity/ring.ts';
import { type Address, type Domain, parseAddress, parseDomain } from '../../../policy/address.ts';

const day = 86_400_000;
const ring = parseDomain('example.org') as Domain;

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed.kind === 'invalid') throw new Error(parsed.reason);
  return parsed.address;
}

function authority(bound?: number) {
  let time = Date.UTC(2026, 0, 1);
  const settings = bound === undefined ? {} : { nodesPerIdentity: bound };
  const ca = CertificateAuthority.create(ring, [], () => time, undefined, settings);
  const issue = (owner = 'alice@example.org', peerKey = signingKeyFromSeed(randomBytes(32)).public, days = 10) =>
    ca.issueNode({ peerKey, owner: address(owner), days });
  return { ca, issue, later: (ms: number): number => (time += ms) };
}

describe('the nodes of one identity', () => {
  it('are as many as the ring says, and the next is refused with what to do', () => {
    const { ca, issue } = authority(2);
    issue();
    issue();
    expect(() => issue()).toThrow(AuthorityFault);
    expect(() => issue()).toThrow(/alice@example.org has 2 nodes.*may have 2.*node revoke SERIAL/);
    issue('bob@example.org');
    expect(ca.issued()).toHaveLength(3);
  });

  it.each<[string, (world: ReturnType<typeof authority>) => void]>([
    ['one is revoked', ({ ca }) => ca.revoke([ca.issued()[0]?.serial ?? ''])],
    ['one has expired', ({ later }) => later(11 * day)],
  ])('may be one more when %s', (_why, change) => {
    const world = authority(1);
    world.issue();
    expect(() => world.issue()).toThrow(AuthorityFault);
    change(world);
    expect(() => world.issue()).not.toThrow();
  });

  it('are not one more when a certificate is renewed, over a restart of the authority too', () => {
    const { ca, issue } = authority(1);
    const { peerKey } = issue();
    const again = CertificateAuthority.fromKey(ca.exportKey(), ca.state(), () => Date.UTC(2026, 0, 2));
    again.issueNode({ peerKey, owner: address('alice@example.org'), days: 20 });
    expect(() =>
      again.issueNode({
        peerKey: signingKeyFromSeed(randomBytes(32)).public,
        owner: address('alice@example.org'),
        days: 1,
      }),
    ).toThrow(AuthorityFault);
  });

  it.each([
    [undefined, defaultNodesPerIdentity],
    [3, 3],
  ])('bounded by %s: every member reads %i from the description of the ring', (bound, read) => {
    const decoded = decodeRing(authority(bound).ca.ringBytes());
    expect(decoded.kind === 'valid' && nodesPerIdentity(decoded.ring)).toBe(read);
  });
});
