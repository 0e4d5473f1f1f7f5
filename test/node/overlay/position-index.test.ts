import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Member } from '../../../node/overlay/overlay.ts';
import { nearest, type Placed } from '../../../node/overlay/placement.ts';
import { PositionIndex } from '../../../node/overlay/position-index.ts';

// Few distinct bits, so that long common prefixes and equal distances' neighbours occur.
const position = fc
  .array(fc.constantFrom(0, 1, 128, 255), { minLength: 32, maxLength: 32 })
  .map((bytes) => Uint8Array.from(bytes));
const places = fc.uniqueArray(position, { selector: (bytes) => Buffer.from(bytes).toString('hex'), maxLength: 60 });

const placed = (bytes: Uint8Array): Placed => ({
  position: bytes,
  member: { peerId: Buffer.from(bytes).toString('hex') } as Member,
});

describe('the index of positions', () => {
  it('finds the same members in the same order as looking at all of them does', () => {
    fc.assert(
      fc.property(places, places, position, fc.integer({ min: 0, max: 20 }), (all, gone, key, count) => {
        const index = new PositionIndex<Placed>();
        for (const bytes of all) index.put(placed(bytes));
        for (const bytes of gone) index.remove(bytes);
        const names = new Set(gone.map((bytes) => Buffer.from(bytes).toString('hex')));
        const left = all.map(placed).filter(({ member }) => !names.has(member.peerId));
        expect(index.nearest(key, count, () => true).map(({ member }) => member)).toEqual(nearest(left, key, count));
      }),
    );
  });

  it('passes over what is not accepted and goes on to the next nearest', () => {
    fc.assert(
      fc.property(places, position, (all, key) => {
        const index = new PositionIndex<Placed>();
        for (const bytes of all) index.put(placed(bytes));
        const odd = ({ position }: Placed): boolean => ((position[31] ?? 0) & 1) === 1;
        const expected = nearest(all.map(placed).filter(odd), key, 3);
        expect(index.nearest(key, 3, odd).map(({ member }) => member)).toEqual(expected);
      }),
    );
  });

  it('keeps one entry for a position, the newest', () => {
    const index = new PositionIndex<Placed>();
    const key = new Uint8Array(32);
    index.put(placed(key));
    const newer = placed(key);
    index.put(newer);
    expect(index.nearest(key, 5, () => true)).toEqual([newer]);
    expect(index.nearest(key, 5, () => true)[0]).toBe(newer);
  });
});
