import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { leastUsual, noVolume, type Volume, volumeFacts, withMessage } from '../../policy/volume.ts';

const hour = 3_600_000;
/** An account that wrote to so many in each of so many hours. */
const history = (hours: number, perHour: number): Volume => {
  let volume = noVolume;
  for (let n = 1; n <= hours; n += 1) volume = withMessage(volume, perHour, n * hour);
  return volume;
};

describe('the volume of a sender', () => {
  test.each<[why: string, volume: Volume, now: number, lastHour: number, timesUsual: number]>([
    ['is nothing unusual at the start', noVolume, hour, 0, 0],
    ['is measured by the least where little was sent', withMessage(noVolume, 100, hour), hour, 100, 10],
    [
      'counts the hour before as far as it reaches into the last sixty minutes',
      history(2, 40),
      3 * hour + hour / 4,
      30,
      2,
    ],
    [
      'is the usual of those who send much every hour',
      withMessage(history(200, 500), 1, 201 * hour),
      201 * hour,
      501,
      1,
    ],
    ['forgets the hour before after a pause', history(2, 40), 9 * hour, 0, 0],
  ])('%s', (_why, volume, now, lastHour, timesUsual) => {
    expect(volumeFacts(volume, now)).toMatchObject({ lastHour, timesUsual });
  });

  it('is moved little by one hour of a thief, however much he sends', () => {
    const usual = history(100, 20);
    const robbed = withMessage(withMessage(usual, 1_000_000, 101 * hour), 1, 102 * hour);
    expect(robbed.usual).toBeLessThan(usual.usual * 1.2);
  });

  it('does not count hours of rest', () => {
    const before = history(100, 200);
    expect(volumeFacts(before, 10_000 * hour).usual).toBe(Math.round(withMessage(before, 1, 10_000 * hour).usual));
    expect(volumeFacts(before, 10_000 * hour).usual).toBeGreaterThan(150);
  });

  it('is bounded by what was sent, never negative, and never below the least, whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(100 * hour), fc.nat(1_000)), { maxLength: 50 }), (messages) => {
        let volume = noVolume;
        let sent = 0;
        for (const [at, recipients] of messages) {
          volume = withMessage(volume, recipients, at);
          sent += recipients;
          const { lastHour, usual, timesUsual } = volumeFacts(volume, at);
          expect(lastHour).toBeGreaterThanOrEqual(0);
          expect(lastHour).toBeLessThanOrEqual(sent + 1);
          expect(usual).toBeGreaterThanOrEqual(leastUsual);
          expect(timesUsual).toBe(Math.floor(lastHour / usual));
        }
      }),
    );
  });
});
