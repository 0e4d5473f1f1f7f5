import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { inSlices, joined, sha256InSlices } from '../../gateway/slices.ts';

// Several slices of 512 KiB and a piece, no octet like its neighbour.
const large = Uint8Array.from({ length: 1_400_001 }, (_, i) => (i * 31 + (i >> 8)) % 251);
const sizes = [0, 1, 524_287, 524_288, 524_289, large.length];

describe('bytes in slices', () => {
  test.each(sizes)('are hashed as one, all %i of them', async (size) => {
    const bytes = large.subarray(0, size);
    for (const before of ['', 'what stands before'])
      expect(await sha256InSlices(bytes, before)).toEqual(createHash('sha256').update(before).update(bytes).digest());
  });

  test.each(sizes)('are joined in order, with small parts around %i of them', async (size) => {
    const parts = [Buffer.from('a'), large.subarray(0, size), new Uint8Array(), Buffer.from('bc'), large];
    expect((await joined(parts)).equals(Buffer.concat(parts))).toBe(true);
  });

  test('let others have a turn', async () => {
    let seen = 0;
    setImmediate(() => (seen += 1));
    const after: number[] = [];
    await inSlices(large, () => after.push(seen));
    expect(after).toEqual([0, 1, 1]);
  });
});
