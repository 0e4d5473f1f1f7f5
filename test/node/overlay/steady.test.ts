import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import type { TableBounds } from '../../../node/overlay/member-table.ts';
import type { Overlay } from '../../../node/overlay/overlay.ts';
import { type OverlayOptions, startOverlay } from '../../../node/overlay/start.ts';
import { Door, freePort } from './door.ts';
import { address } from './fake-overlay.ts';
import { childRing } from './process-ring.ts';
import { makeRing, type Ring } from './ring-fixture.ts';

const soon = { timeout: 60_000, interval: 20 };
const minuteMs = 60_000;
const unreachable = '/ip4/127.0.0.1/tcp/9';

// The clocks stand still but for what a test moves them; lines, deadlines and ticks are real. To the nodes each move is a sleep, after which they look
// after everything at once.
describe('what a node does after minutes', () => {
  let ring: Ring;
  const overlays: Overlay[] = [];
  const began = Date.now();
  const now = (): number => began + performance.now();

  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    ring = await makeRing(1, { now });
  });
  afterEach(async () => {
    await Promise.all(overlays.splice(0).map((overlay) => overlay.stop()));
    await ring.stop();
    vi.useRealTimers();
  });

  async function node(name: string, how: Partial<OverlayOptions> = {}): Promise<Overlay> {
    const seed = Uint8Array.from(randomBytes(32));
    const owner = address(`${name}@example.org`);
    const certificate = ring.ca.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 1 });
    const options = ring.options(seed, certificate, path.join(ring.nodes[0]!.dir, name));
    const overlay = await startOverlay({ ...options, ...how });
    overlay.handle('who', async (body) => Buffer.from(`${name} got ${body.length}`));
    overlays.push(overlay);
    return overlay;
  }

  const question = new Uint8Array(50_000);
  const ask = async (from: Overlay, to: Overlay): Promise<string> =>
    Buffer.from(await from.request(to.self.peerId, 'who', question, { timeoutMs: 20_000 })).toString();

  it('a pair that talks through a third node does without it within five minutes of the direct way being open', async () => {
    const port = await freePort();
    const door = await Door.before(port);
    try {
      door.open = false;
      const left = await node('left', { announce: [unreachable] });
      const right = await node('right', { listen: [`/ip4/127.0.0.1/tcp/${port}`], announce: [door.address] });
      await vi.waitFor(async () => expect(await ask(left, right)).toBe('right got 50000'), soon);
      expect(door.passed).toBe(0);
      const changes: string[] = [];
      left.onMembership(({ kind, member }) => changes.push(`${kind} ${member.owner}`));
      door.open = true;
      // Again where the machine was too busy for the dial.
      await vi.waitFor(async () => {
        vi.advanceTimersByTime(5 * minuteMs);
        await vi.waitFor(() => expect(door.passed).toBeGreaterThan(0), { timeout: 10_000, interval: 20 });
      }, soon);
      await vi.waitFor(async () => {
        const before = door.passed;
        await ask(left, right);
        expect(door.passed - before).toBeGreaterThan(question.length);
      }, soon);
      // Now the third may go, and neither notices.
      await ring.nodes[0]!.overlay.stop();
      await vi.waitFor(() => expect(changes).toContain(`down ${ring.nodes[0]!.overlay.self.owner}`), soon);
      expect([await ask(left, right), await ask(right, left)]).toEqual(['right got 50000', 'left got 50000']);
      expect(changes).not.toContain(`down ${right.self.owner}`);
    } finally {
      door.close();
    }
  });
});

describe('a connection that was made for a question', () => {
  it('is closed when it was not used for five minutes; those of the routing table are not', async () => {
    // What a node does by the clock happens within one move of it, while no message comes or goes: a look at others of its own is the only use there can be meanwhile.
    vi.useFakeTimers({ toFake: ['performance', 'setInterval', 'clearInterval'] });
    const table: TableBounds = { members: 6, routing: { perBucket: 2, perOwner: 2, perNetwork: 40, siblings: 3 } };
    // The clock moves in this process only. The first node is the one that all others begin with, and keep.
    const ring = await childRing({ here: 2, perProcess: 6, processes: 2, table });
    try {
      const node = ring.overlays[1] as Overlay;
      const ask = async (peerId: string): Promise<number> =>
        (await node.request(peerId, 'echo', new Uint8Array(3), { timeoutMs: 20_000 })).length;
      // Neither of the two keeps the other, or they would be connected. Those that start at once find each other by and by, so one alone may become a neighbour.
      const strangers = await vi.waitFor(async () => {
        const found = ring.certificates.filter(({ peerId }) => !node.isUp(peerId)).map(({ peerId }) => peerId);
        if (found.length === 0) {
          vi.advanceTimersByTime(6 * minuteMs);
          throw new Error('it is connected to everyone');
        }
        await Promise.all(found.map(ask));
        return found;
      }, soon);
      const changes: string[] = [];
      node.onMembership(({ kind, member }) => changes.push(`${kind} ${member.peerId}`));
      vi.advanceTimersByTime(4 * minuteMs);
      expect(strangers.filter((peerId) => !node.isUp(peerId))).toEqual([]);
      await vi.waitFor(() => {
        vi.advanceTimersByTime(6 * minuteMs);
        expect(strangers.filter((peerId) => changes.includes(`down ${peerId}`))).not.toEqual([]);
      }, soon);
      const kept = node.members().filter(({ peerId }) => peerId !== node.self.peerId);
      expect(kept.length).toBeGreaterThan(0);
      await vi.waitFor(() => expect(kept.filter(({ peerId }) => !node.isUp(peerId))).toEqual([]), soon);
      await vi.waitFor(async () => expect(await Promise.all(strangers.map(ask))).toEqual(strangers.map(() => 3)), soon);
    } finally {
      await ring.stop();
      vi.useRealTimers();
    }
  }, 180_000);
});
