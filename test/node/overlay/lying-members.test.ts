import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { TableBounds } from '../../../node/overlay/member-table.ts';
import { compareDistance, positionOf } from '../../../node/overlay/placement.ts';
import { childRing, type ProcessRing } from './process-ring.ts';

const soon = { timeout: 60_000, interval: 100 };
const table: TableBounds = { members: 10, routing: { perBucket: 4, perOwner: 2, perNetwork: 40, siblings: 6 } };
const here = 3;
const perProcess = 6;
const processes = 2;
const liars = 5;
const wanted = 3;
const keys = 20;
const keyOf = (text: string): Uint8Array => Uint8Array.from(createHash('sha256').update(text).digest());

// A quarter lies, each question in another way: lying-lookups.ts.
describe(`a ring of ${here + perProcess * processes} honest nodes and ${liars} that lie in lookups, each a real one`, () => {
  let ring: ProcessRing;

  beforeAll(async () => {
    ring = await childRing({ here, perProcess, processes, table, liars });
    await vi.waitFor(() => {
      for (const overlay of ring.overlays) expect(overlay.locate(keyOf(String(Math.random())), wanted)).toBeDefined();
    }, soon);
  }, 120_000);
  afterAll(() => ring.stop());

  function nearest(key: Uint8Array): string[] {
    const all = [...ring.certificates];
    all.sort((left, right) => compareDistance(key, positionOf(left.peerKey), positionOf(right.peerKey)));
    return all.slice(0, wanted).map(({ peerId }) => peerId);
  }

  it('finds the nearest, and names nobody who is not certified', async () => {
    const certified = new Set(ring.certificates.map(({ peerId }) => peerId));
    let right = 0;
    for (let n = 0; n < keys; n += 1)
      for (const overlay of ring.overlays) {
        const key = keyOf(`key ${n}`);
        await overlay.locate(key, wanted);
        const found = overlay.closest(key, wanted).map(({ peerId }) => peerId);
        for (const one of found) expect(certified).toContain(one);
        if (found.join() === nearest(key).join()) right += 1;
      }
    // Four paths miss the nearest where all of them meet a liar; tables of ten make that likelier than those of a real ring.
    expect(right / (keys * here)).toBeGreaterThan(0.9);
  }, 180_000);

  it('a node that nobody here was told of is asked by its peer id', async () => {
    const [overlay] = ring.overlays;
    const known = new Set(overlay!.members().map(({ peerId }) => peerId));
    const strangers = ring.certificates.filter(({ peerId }) => !known.has(peerId));
    expect(strangers.length).toBeGreaterThan(0);
    for (const { peerId } of strangers)
      await vi.waitFor(
        async () => expect(await overlay!.request(peerId, 'echo', keyOf('x'), { timeoutMs: 20_000 })).toHaveLength(32),
        soon,
      );
  }, 180_000);
});
