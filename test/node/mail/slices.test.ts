import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { inSlices, joinedInSlices, sha256InSlices, sliceBytes, slicesOf } from '../../../node/mail/slices.ts';
import { noise } from './messages.ts';

const large = noise(2 * sliceBytes + 7, 3);
const sizes = [0, 1, sliceBytes - 1, sliceBytes, sliceBytes + 1, large.length];

describe('bytes in slices', () => {
  it.each(sizes)('are hashed as one, all %i of them', async (size) => {
    const bytes = large.subarray(0, size);
    for (const before of ['', 'what stands before'])
      expect(await sha256InSlices(bytes, before)).toEqual(createHash('sha256').update(before).update(bytes).digest());
  });

  it.each(sizes)('are joined in order, with small parts around %i of them', async (size) => {
    const parts = [Buffer.from('a'), large.subarray(0, size), new Uint8Array(), Buffer.from('bc'), large];
    expect((await joinedInSlices(parts)).equals(Buffer.concat(parts))).toBe(true);
  });

  it('let others have a turn', async () => {
    let seen = 0;
    setImmediate(() => (seen += 1));
    const after: number[] = [];
    await inSlices(slicesOf(large), () => after.push(seen));
    expect(after).toEqual([0, 1, 1]);
  });
});
