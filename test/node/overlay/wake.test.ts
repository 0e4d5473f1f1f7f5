import { describe, expect, it } from 'vitest';
import { jumped } from '../../../node/overlay/wake.ts';

describe('whether the clock jumped between two looks two seconds apart', () => {
  it.each([
    ['nothing happened', 2_000, 2_000, false],
    ['a busy machine was late', 5_500, 5_500, false],
    ['the machine was suspended: the steady clock stood still', 3_600_000, 2_010, true],
    ['the process was stopped: both went on', 60_000, 60_000, true],
    ['a suspended machine whose steady clock went on', 3_600_000, 3_600_000, true],
    ['the wall clock was set ahead', 86_400_000, 2_000, true],
    ['the wall clock was set back', -3_600_000, 2_000, true],
    ['the wall clock was corrected by a second', 3_000, 2_000, false],
  ])('%s', (_why, wall, steady, expected) => {
    const before = { wall: 1_000_000_000, steady: 5_000 };
    expect(jumped(before, { wall: before.wall + wall, steady: before.steady + steady }, 2_000)).toBe(expected);
  });
});
