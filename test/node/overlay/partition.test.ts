import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import type { Overlay } from '../../../node/overlay/overlay.ts';
import { startOverlay } from '../../../node/overlay/start.ts';
import { Door, freePort } from './door.ts';
import { address } from './fake-overlay.ts';
import { makeRing, type Ring } from './ring-fixture.ts';

const soon = { timeout: 60_000, interval: 50 };

describe('two halves of a ring', () => {
  let ring: Ring;
  const doors: Door[] = [];
  const overlays: Overlay[] = [];

  async function node(name: string, bootstrap: readonly string[]): Promise<{ overlay: Overlay; door: Door }> {
    const port = await freePort();
    const door = await Door.before(port);
    doors.push(door);
    const seed = Uint8Array.from(randomBytes(32));
    const owner = address(`${name}@example.org`);
    const certificate = ring.ca.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 1 });
    const options = ring.options(seed, certificate, path.join(home, name));
    const listen = [`/ip4/127.0.0.1/tcp/${port}`];
    const overlay = await startOverlay({ ...options, listen, announce: [door.address], bootstrap });
    overlays.push(overlay);
    return { overlay, door };
  }

  let home = '';
  beforeEach(async () => {
    ring = await makeRing(0);
    home = await mkdtemp(path.join(tmpdir(), 'epost-halves-'));
  });
  afterEach(async () => {
    await Promise.all(overlays.splice(0).map((overlay) => overlay.stop()));
    for (const door of doors.splice(0)) door.close();
    await ring.stop();
    await rm(home, { recursive: true, force: true });
  });

  const ids = (of: readonly Overlay[]): string[] => of.map(({ self }) => self.peerId).sort();
  const upOf = (overlay: Overlay, all: readonly Overlay[]): string[] =>
    ids(all.filter((other) => other !== overlay && overlay.isUp(other.self.peerId)));
  const allUp = (all: readonly Overlay[]): void => {
    for (const one of all) expect(upOf(one, all)).toEqual(ids(all.filter((other) => other !== one)));
  };

  it('find each other when the way is open again, and what changed in one of them is known in both', async () => {
    const a = await node('a', []);
    const doorToA = `${a.door.address}/p2p/${a.overlay.self.peerId}`;
    const b = await node('b', [doorToA]);
    await vi.waitFor(() => allUp([a.overlay, b.overlay]), soon);
    for (const { door } of [a, b]) door.open = false;
    const c = await node('c', [doorToA]);
    const d = await node('d', [`${c.door.address}/p2p/${c.overlay.self.peerId}`]);
    await vi.waitFor(() => allUp([c.overlay, d.overlay]), soon);
    expect(a.overlay.members()).toHaveLength(2);

    const four = [a, b, c, d].map(({ overlay }) => overlay);
    for (const door of doors) Object.assign(door, { open: true, part: 'cross' });
    await vi.waitFor(() => allUp(four), soon);

    for (const door of doors) door.cut();
    await vi.waitFor(() => {
      allUp([a.overlay, b.overlay]);
      for (const one of [a, b]) expect(upOf(one.overlay, [c.overlay, d.overlay])).toEqual([]);
    }, soon);
    // One half takes in a new machine, the other is told that one was stolen.
    const e = await node('e', [`/ip4/127.0.0.1/tcp/${a.door.target}/p2p/${a.overlay.self.peerId}`]);
    await vi.waitFor(() => expect(a.overlay.isUp(e.overlay.self.peerId)).toBe(true), soon);
    c.overlay.offerRevocations(ring.ca.revoke([d.overlay.self.certificate.serial]));
    expect(c.overlay.isUp(d.overlay.self.peerId)).toBe(false);
    expect(a.overlay.members().map(({ peerId }) => peerId)).toContain(d.overlay.self.peerId);

    for (const door of doors) door.open = true;
    const members = [a, b, c, e].map(({ overlay }) => overlay);
    await vi.waitFor(() => {
      allUp(members);
      for (const one of members) {
        expect(
          one
            .members()
            .map(({ peerId }) => peerId)
            .sort(),
        ).toEqual(ids(members));
        expect(one.isUp(d.overlay.self.peerId)).toBe(false);
      }
    }, soon);
  }, 120_000);

  it('a member that was cut off when another was revoked cuts it before it is up for anyone again', async () => {
    const a = await node('a', []);
    const doorToA = `${a.door.address}/p2p/${a.overlay.self.peerId}`;
    const [away, thief] = [await node('away', [doorToA]), await node('thief', [doorToA])];
    const all = [a, away, thief].map(({ overlay }) => overlay);
    for (const door of doors) Object.assign(door, { part: 'cross' });
    await vi.waitFor(() => allUp(all), soon);
    // Between these two the way is not through a door.
    const inner = `/ip4/127.0.0.1/tcp/${thief.door.target}/p2p/${thief.overlay.self.peerId}`;
    const beside = await node('beside', [inner]);
    const seen: string[] = [];
    await vi.waitFor(() => expect(beside.overlay.isUp(thief.overlay.self.peerId)).toBe(true), soon);
    for (const door of doors) door.cut();
    await vi.waitFor(() => expect(upOf(beside.overlay, all)).toEqual(ids([thief.overlay])), soon);
    beside.overlay.onMembership(({ kind, member }) => seen.push(`${kind} ${member.owner}`));
    a.overlay.offerRevocations(ring.ca.revoke([thief.overlay.self.certificate.serial]));
    expect(beside.overlay.isUp(thief.overlay.self.peerId)).toBe(true);
    for (const door of doors) door.open = true;
    await vi.waitFor(() => expect(beside.overlay.isUp(a.overlay.self.peerId)).toBe(true), soon);
    expect(beside.overlay.isUp(thief.overlay.self.peerId)).toBe(false);
    expect(seen.indexOf(`down ${thief.overlay.self.owner}`)).toBeLessThan(seen.indexOf(`up ${a.overlay.self.owner}`));
    expect(seen).toContain(`down ${thief.overlay.self.owner}`);
  }, 120_000);
});
