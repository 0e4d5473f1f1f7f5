import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import type { Overlay } from '../../../node/overlay/overlay.ts';
import { Pace } from '../../../node/overlay/relay-pipe.ts';
import { startOverlay } from '../../../node/overlay/start.ts';
import { address, silentLog } from './fake-overlay.ts';
import { makeRing, type Ring } from './ring-fixture.ts';

const soon = { timeout: 20_000, interval: 20 };
// Nobody listens at the discard port: what a node behind a firewall tells the others, it is reached at as little.
const unreachable = '/ip4/127.0.0.1/tcp/9';

describe('two members that cannot dial each other', () => {
  let ring: Ring;
  let left: Overlay;
  let right: Overlay;
  const carried: string[] = [];

  async function hidden(name: string): Promise<Overlay> {
    const seed = Uint8Array.from(randomBytes(32));
    const owner = address(`${name}@example.org`);
    const certificate = ring.ca.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 1 });
    const options = ring.options(seed, certificate, path.join(ring.nodes[0]!.dir, name));
    const overlay = await startOverlay({ ...options, announce: [unreachable] });
    overlay.handle('echo', async (body) => body);
    return overlay;
  }

  beforeEach(async () => {
    carried.length = 0;
    const log = { ...silentLog, info: (_fields: object, message: string) => carried.push(message) };
    ring = await makeRing(1, { log });
    [left, right] = await Promise.all([hidden('left'), hidden('right')]);
    await vi.waitFor(() => {
      expect([left.isUp(right.self.peerId), right.isUp(left.self.peerId)]).toEqual([true, true]);
    }, soon);
  });
  afterEach(async () => {
    await Promise.all([left.stop(), right.stop()]);
    await ring.stop();
  });

  it('are up for each other through a third that reaches both, and ask each other what they like', async () => {
    expect(carried).toContain('carrying for two members that do not reach each other');
    const big = Uint8Array.from(randomBytes(100_000));
    for (const [one, other] of [
      [left, right],
      [right, left],
    ] as const) {
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => one.request(other.self.peerId, 'echo', big, { timeoutMs: 15_000 })),
      );
      for (const answer of answers) expect(Buffer.compare(answer, big)).toBe(0);
    }
  });

  it('are down for each other when the third is gone, and up again when it is back', async () => {
    const [third] = ring.nodes;
    await third!.overlay.stop();
    await vi.waitFor(() => expect(left.isUp(right.self.peerId)).toBe(false), soon);
    const listen = third!.overlay.self.addresses;
    const again = await startOverlay({ ...ring.options(third!.seed, third!.certificate, third!.dir), listen });
    third!.overlay = again;
    await vi.waitFor(async () => {
      const answer = await left.request(right.self.peerId, 'echo', new Uint8Array([3]), { timeoutMs: 5_000 });
      expect([...answer]).toEqual([3]);
    }, soon);
  });

  it('are cut at once when one of them is revoked', async () => {
    right.offerRevocations(ring.ca.revoke([left.self.certificate.serial]));
    expect(right.isUp(left.self.peerId)).toBe(false);
    await vi.waitFor(() => expect(ring.nodes[0]!.overlay.isUp(left.self.peerId)).toBe(false), soon);
    await expect(left.request(right.self.peerId, 'echo', new Uint8Array(), { timeoutMs: 2_000 })).rejects.toThrow();
  });
});

describe('what one node carries for others', () => {
  it.each([
    ['the first second is a burst', [0, 1_000], [0]],
    ['beyond it one waits as long as it takes', [0, 3_000], [2_000]],
    ['what was waited for is paid', [0, 3_000, 2_000, 0], [2_000, 0]],
    ['idle time saves no more than a second', [3_600_000, 2_000], [1_000]],
  ])('is paced: %s', (_why, steps, waits) => {
    let now = 0;
    const pace = new Pace(1_000, () => now);
    const waited: number[] = [];
    for (let at = 0; at < steps.length; at += 2) {
      now += steps[at] ?? 0;
      waited.push(pace.take(steps[at + 1] ?? 0));
    }
    expect(waited).toEqual(waits);
  });
});
