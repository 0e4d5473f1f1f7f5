import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { RevocationState } from '../../../node/identity/revocation.ts';
import { MemberTable } from '../../../node/overlay/member-table.ts';
import { signNodeRecord } from '../../../node/overlay/node-record.ts';
import type { Overlay } from '../../../node/overlay/overlay.ts';
import { startOverlay } from '../../../node/overlay/start.ts';
import { address, testDomain } from './fake-overlay.ts';
import { makeRing, type Ring } from './ring-fixture.ts';

const alice = address('alice@example.org');
const seed = new Uint8Array(32).fill(9);

/** An authority that certifies more than this ring's members count: the same key, before the bound was there. */
function world(bound: number) {
  let time = Date.UTC(2026, 10, 1);
  const now = (): number => time;
  const lavish = CertificateAuthority.create(testDomain, [], now, seed, { nodesPerIdentity: 100 });
  const { ring } = CertificateAuthority.create(testDomain, [], now, seed, { nodesPerIdentity: bound });
  const revocations = new RevocationState(ring, lavish.revocations());
  const table = () => new MemberTable({ ring, revocations, now });
  const node = () => {
    time += 1_000;
    const key = signingKeyFromSeed(randomBytes(32));
    const { bytes, peerId, serial } = lavish.issueNode({ peerKey: key.public, owner: alice, days: 10 });
    return {
      peerId,
      serial,
      proof: { certificate: bytes, record: signNodeRecord({ ring: testDomain, addresses: [], sequence: 1 }, key) },
    };
  };
  return { table, node, revoke: (serial: string) => revocations.offer(lavish.revoke([serial])) };
}

describe('nodes beyond what an identity may have', () => {
  it('are the ones certified first, whatever order they are heard of in', () => {
    const { table, node } = world(3);
    const nodes = Array.from({ length: 6 }, node);
    const newest = nodes
      .slice(3)
      .map(({ peerId }) => peerId)
      .sort();
    for (const order of [nodes, [...nodes].reverse(), [2, 5, 0, 3, 1, 4].map((n) => nodes[n]!)]) {
      const one = table();
      for (const { proof } of order) one.offer(proof);
      expect(
        one
          .members()
          .map(({ peerId }) => peerId)
          .sort(),
      ).toEqual(newest);
    }
  });

  it('come in again when one of those that count is revoked', () => {
    const { table, node, revoke } = world(1);
    const [first, second] = [node(), node()];
    const one = table();
    one.offer(first.proof);
    expect(one.offer(second.proof)).toMatchObject({ kind: 'joined', displaced: { peerId: first.peerId } });
    expect(one.offer(first.proof)).toMatchObject({ kind: 'refused', reason: expect.stringContaining('1 newer nodes') });
    revoke(second.serial);
    expect(one.offer(first.proof).kind).toBe('joined');
  });
});

describe('a real node that is one too many', () => {
  let ring: Ring;
  const more: Overlay[] = [];
  afterEach(async () => {
    await Promise.all(more.splice(0).map((overlay) => overlay.stop()));
    await ring.stop();
  });

  it('is cut by all when a newer one of its owner joins, and is not admitted again', async () => {
    ring = await makeRing(2, { nodesPerIdentity: 1 });
    // The same authority, which has forgotten what it issued: its state was restored from an old copy.
    const state = ring.ca.state();
    const restored = CertificateAuthority.fromKey(ring.ca.exportKey(), { ...state, issued: [] }, Date.now);
    const owner = ring.nodes[1]!.certificate.owner;
    const key = Uint8Array.from(randomBytes(32));
    await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(ring.nodes[1]!.certificate.notBefore));
    const certificate = restored.issueNode({ peerKey: signingKeyFromSeed(key).public, owner, days: 1 });
    const newer = await startOverlay(ring.options(key, certificate, `${ring.nodes[1]!.dir}-newer`));
    more.push(newer);
    const [kept, old] = ring.nodes.map(({ overlay }) => overlay);
    await vi.waitFor(
      () => {
        expect(kept!.isUp(newer.self.peerId)).toBe(true);
        expect(kept!.isUp(old!.self.peerId)).toBe(false);
        expect(kept!.members().map(({ peerId }) => peerId)).not.toContain(old!.self.peerId);
      },
      { timeout: 10_000, interval: 20 },
    );
    await ring.restart(ring.nodes[1]!);
    await expect(
      ring.nodes[1]!.overlay.request(kept!.self.peerId, 'greet', new Uint8Array(), { timeoutMs: 2_000 }),
    ).rejects.toMatchObject({ code: expect.stringMatching(/unreachable|timeout/) });
    expect(kept!.isUp(old!.self.peerId)).toBe(false);
  });
});
