import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { TableBounds } from '../../../node/overlay/member-table.ts';
import type { Member, Overlay } from '../../../node/overlay/overlay.ts';
import { compareDistance, positionOf } from '../../../node/overlay/placement.ts';
import { openStore } from '../../../node/store/store.ts';
import { silentLog } from './fake-overlay.ts';
import { childRing, type ProcessRing } from './process-ring.ts';

const soon = { timeout: 60_000, interval: 100 };
// A table of eight for a ring of seventeen: what 5,000 are for one of 10,000.
const small: TableBounds = { members: 8, routing: { perBucket: 3, perOwner: 2, perNetwork: 4, siblings: 4 } };
const perProcess = 7;
const processes = 2;
const size = 3 + perProcess * processes;
const wanted = 3;
const keyOf = (text: string): Uint8Array => Uint8Array.from(createHash('sha256').update(text).digest());
const names = (members: readonly Member[]): string[] => members.map(({ peerId }) => peerId);

describe(`a ring of ${size} nodes in ${processes + 1} processes whose member tables hold ${small.members}`, () => {
  let ring: ProcessRing;
  let own: readonly Overlay[];

  function nearest(key: Uint8Array): string[] {
    const all = [...ring.certificates];
    all.sort((left, right) => compareDistance(key, positionOf(left.peerKey), positionOf(right.peerKey)));
    return all.slice(0, wanted).map(({ peerId }) => peerId);
  }

  async function right(key: Uint8Array): Promise<boolean> {
    await Promise.all(own.map(async (overlay) => overlay.locate(key, wanted)));
    return own.every((overlay) => names(overlay.closest(key, wanted)).join() === nearest(key).join());
  }

  beforeAll(async () => {
    ring = await childRing({ here: 3, perProcess, processes, table: small });
    own = ring.overlays;
    // Everyone has been told of too many by now, or was told that there are.
    await vi.waitFor(() => {
      for (const overlay of own) expect(overlay.locate(keyOf(String(Math.random())), wanted)).toBeDefined();
    }, soon);
    // Those that start at once find their neighbours by and by.
    for (let n = 0; n < 10; )
      if (await right(keyOf(`settled ${Math.random()}`))) n += 1;
      else n = 0;
  }, 90_000);
  afterAll(() => ring.stop());

  it('no node knows all, each answers what it does not know by asking, and all answers are right', async () => {
    for (const overlay of own) expect(overlay.members().length).toBeLessThan(size);
    let looked = 0;
    for (let n = 0; n < 12; n += 1) {
      const key = keyOf(`key ${n}`);
      for (const overlay of own) {
        const looking = overlay.locate(key, wanted);
        if (looking !== undefined) looked += 1;
        await looking;
        expect(names(overlay.closest(key, wanted))).toEqual(nearest(key));
        // They have been asked, so they are connected.
        expect(overlay.closest(key, wanted).every(({ peerId }) => overlay.isUp(peerId))).toBe(true);
      }
    }
    // Or this would say nothing.
    expect(looked).toBeGreaterThan(0);
  });

  it('an answer found a moment ago is local', async () => {
    const [overlay] = own;
    const key = keyOf('again');
    await overlay!.locate(key, wanted);
    expect(overlay!.locate(key, wanted)).toBeUndefined();
  });

  it('a node that nobody here was told of is asked by its peer id', async () => {
    const [overlay] = own;
    const before = new Set(names(overlay!.members()));
    const strangers = ring.certificates.filter(({ peerId }) => !before.has(peerId));
    expect(strangers.length).toBeGreaterThan(0);
    for (const { peerId } of strangers) {
      const answer = await overlay!.request(peerId, 'echo', new Uint8Array([5]), { timeoutMs: 20_000 });
      expect([...answer]).toEqual([5]);
    }
  });

  it('a certified newcomer is admitted though every table is full, and is found by all', async () => {
    const late = await ring.addNode();
    await vi.waitFor(async () => {
      for (const overlay of own)
        expect(
          await overlay.request(late.self.peerId, 'echo', new Uint8Array([7]), { timeoutMs: 20_000 }),
        ).toHaveLength(1);
    }, soon);
    await vi.waitFor(async () => {
      const key = keyOf(`what the newcomer looks for ${Math.random()}`);
      await late.locate(key, wanted);
      expect(names(late.closest(key, wanted))).toEqual(nearest(key));
    }, soon);
  });

  it('a block is kept by the three that are nearest in the whole ring, and read from a node that knew none of them', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'epost-large-'));
    const [writer, reader] = await Promise.all(
      own
        .slice(1, 3)
        .map((overlay, n) => openStore({ overlay, dir: path.join(dir, String(n)), now: Date.now, log: silentLog })),
    );
    try {
      const bytes = new TextEncoder().encode('kept where it belongs');
      const key = Uint8Array.from(createHash('sha256').update(bytes).digest());
      const lease = { identity: own[1]!.self.owner, until: Date.now() + 86_400_000 };
      await vi.waitFor(
        async () => expect((await writer!.insert([{ key, bytes }], lease)).copies).toBeGreaterThan(1),
        soon,
      );
      expect(Uint8Array.from(await reader!.fetch(key))).toEqual(bytes);
    } finally {
      await Promise.all([writer!.stop(), reader!.stop()]);
      await rm(dir, { recursive: true, force: true });
    }
  });
});
