import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Member } from '../../../node/overlay/overlay.ts';
import { positionOf } from '../../../node/overlay/placement.ts';
import { PositionIndex } from '../../../node/overlay/position-index.ts';
import { Vicinity } from '../../../node/store/vicinity.ts';

const window = 12;
const hash = (text: string): Uint8Array => Uint8Array.from(createHash('sha256').update(text).digest());

function ringOf(size: number, seed: string) {
  const index = new PositionIndex<{ readonly position: Uint8Array; readonly member: Member }>();
  const members = Array.from({ length: size }, (_, n) => {
    const peerKey = hash(`${seed} ${n}`);
    const member = { peerId: `n${n}`, peerKey } as Member;
    index.put({ position: positionOf(peerKey), member });
    return member;
  });
  const closest = (key: Uint8Array, count: number): Member[] =>
    index.nearest(key, count, () => true).map(({ member }) => member);
  const vicinityOf = (self: Member): Vicinity => new Vicinity({ self: () => self, closest, window, now: () => 0 });
  return { members, closest, vicinityOf };
}

describe('the members with which a node may share a key', () => {
  it('are all that are among the nearest to a key together with it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_500 }), fc.string(), (size, seed) => {
        const { closest, vicinityOf } = ringOf(size, seed);
        for (let n = 0; n < 20; n += 1) {
          const [self, ...others] = closest(hash(`key ${n}`), window) as [Member, ...Member[]];
          const vicinity = vicinityOf(self);
          const near = new Set(vicinity.others());
          for (const other of others) expect([near.has(other), vicinity.includes(other)]).toEqual([true, true]);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('are some dozen of thousands, and everyone in a small ring', () => {
    const sizes = [30, 3_000].map((size) => {
      const { members, vicinityOf } = ringOf(size, 'ring');
      return members.slice(0, 30).map((self) => {
        const vicinity = vicinityOf(self);
        const included = members.filter((member) => member !== self && vicinity.includes(member)).length;
        expect(vicinity.others()).toHaveLength(included);
        return included;
      });
    });
    expect(new Set(sizes[0])).toEqual(new Set([29]));
    expect(Math.max(...(sizes[1] ?? []))).toBeLessThan(window * 10);
    expect(Math.min(...(sizes[1] ?? []))).toBeGreaterThanOrEqual(window);
  });
});
