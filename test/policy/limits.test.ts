import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Limits, type LimitsSnapshot, type Rate } from '../../policy/limits.ts';

const twoPerSecond: Rate = { amount: 2, perMs: 1000, burst: 2 };

function within(limits: Limits, key: string, now: number, cost = 1, rate = twoPerSecond): boolean {
  return limits.take(key, cost, rate, now).kind === 'within';
}

describe('a token bucket', () => {
  test('gives its burst at once, then one token each time one has grown back', () => {
    const limits = new Limits();
    expect([0, 0, 0, 499, 500, 501].map((now) => within(limits, 'a', now))).toEqual([
      true,
      true,
      false,
      false,
      true,
      false,
    ]);
  });

  test('says when the next try will succeed, and then it does', () => {
    const limits = new Limits();
    within(limits, 'a', 0, 2);
    const refused = limits.take('a', 1, twoPerSecond, 100);
    expect(refused).toEqual({ kind: 'over', retryAfterMs: 400 });
    expect(within(limits, 'a', 500)).toBe(true);
  });

  test('a refusal takes nothing', () => {
    const limits = new Limits();
    within(limits, 'a', 0, 2);
    for (let i = 0; i < 50; i++) within(limits, 'a', 10);
    expect(within(limits, 'a', 500)).toBe(true);
  });

  test('what costs more than the whole bucket never passes; what costs nothing always does', () => {
    const limits = new Limits();
    expect(within(limits, 'a', 0, 3)).toBe(false);
    expect(within(limits, 'a', 0, 2)).toBe(true);
    expect(within(limits, 'a', 0, 0)).toBe(true);
  });

  test('a clock set back locks nobody out for longer than an empty bucket', () => {
    const limits = new Limits();
    within(limits, 'a', 1_000_000_000, 2);
    expect(within(limits, 'a', 0)).toBe(false);
    expect(within(limits, 'a', 1000)).toBe(true);
  });

  test('rates that do not divide evenly still give every token', () => {
    const rate: Rate = { amount: 7, perMs: 3_600_000, burst: 7 };
    const limits = new Limits();
    expect(Array.from({ length: 8 }, () => within(limits, 'a', 0, 1, rate)).filter(Boolean)).toHaveLength(7);
  });
});

test('never more than a burst and what grew since', () => {
  const step = fc.record({ after: fc.integer({ min: 0, max: 2000 }), cost: fc.integer({ min: 1, max: 4 }) });
  const rates = fc.record({
    amount: fc.integer({ min: 1, max: 50 }),
    perMs: fc.constantFrom(1000, 60_000),
    burst: fc.integer({ min: 1, max: 50 }),
  });
  fc.assert(
    fc.property(rates, fc.array(step, { maxLength: 60 }), (rate, steps) => {
      const limits = new Limits();
      let now = 0;
      let taken = 0;
      for (const { after, cost } of steps) {
        now += after;
        if (within(limits, 'a', now, cost, rate)) taken += cost;
        expect(taken).toBeLessThanOrEqual(rate.burst + (now * rate.amount) / rate.perMs + 0.1);
      }
    }),
  );
});

describe('bounded', () => {
  test('a million senders leave the bound, and the one seen last is remembered', () => {
    const limits = new Limits(1000);
    within(limits, 'regular', 0, 2);
    for (let i = 0; i < 1_000_000; i++) {
      limits.take(`k${i}`, 1, twoPerSecond, 0);
      if (i % 500 === 0) limits.take('regular', 0, twoPerSecond, 0);
    }
    expect(limits.size).toBe(1000);
    expect(within(limits, 'regular', 0)).toBe(false);
    expect(within(limits, 'k0', 0, 2)).toBe(true);
  });

  test('a key of any length takes bounded room, and long keys with one beginning share a bucket', () => {
    const limits = new Limits();
    within(limits, 'x'.repeat(100_000), 0, 2);
    expect(limits.snapshot(0).buckets[0]?.[0]).toHaveLength(512);
  });
});

describe('a restart', () => {
  test('keeps what was used', () => {
    const before = new Limits();
    within(before, 'a', 0, 2);
    const kept = JSON.parse(JSON.stringify(before.snapshot(100))) as LimitsSnapshot;
    const after = new Limits();
    after.restore(kept, 200);
    expect(within(after, 'a', 200)).toBe(false);
    expect(within(after, 'a', 500)).toBe(true);
  });

  test('forgets buckets that are full again', () => {
    const limits = new Limits();
    within(limits, 'a', 0, 2);
    expect(limits.snapshot(1000).buckets).toEqual([]);
  });

  test('passes over what is no bucket', () => {
    const limits = new Limits();
    limits.restore(
      { version: 1, buckets: [['a'], null, 'b', ['c', Number.NaN], [1, 2], ['d', 500]] } as unknown as LimitsSnapshot,
      0,
    );
    limits.restore({} as LimitsSnapshot, 0);
    expect(limits.snapshot(0).buckets).toEqual([['d', 500]]);
  });
});
