import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LaneBoard } from '../../queue/lane-board.ts';

describe('the lane board', () => {
  test('lanes take turns', () => {
    const board = new LaneBoard(10);
    for (const lane of ['a', 'b', 'c']) board.setHead(lane, 0, 0);
    expect(Array.from({ length: 7 }, () => board.take(0))).toEqual(['a', 'b', 'c', 'a', 'b', 'c', 'a']);
  });

  test('a lane that waits is offered at its time, not before, and its time is known', () => {
    const board = new LaneBoard(1);
    board.setHead('late', 20, 0);
    board.setHead('soon', 10, 0);
    expect([board.nextAt(), board.take(9)]).toEqual([10, undefined]);
    expect([board.take(10), board.take(10), board.nextAt()]).toEqual(['soon', undefined, 20]);
    board.setHead('late', undefined, 10);
    expect([board.nextAt(), board.take(99)]).toEqual([undefined, undefined]);
  });

  test('against a model: no lane over its limit, none forgotten, the next time right', () => {
    const step = fc.record({
      lane: fc.constantFrom('a', 'b', 'c', 'd'),
      what: fc.constantFrom('head', 'none', 'take', 'free', 'time', 'offer'),
      by: fc.integer({ min: 0, max: 20 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const perLane = 2;
        const board = new LaneBoard(perLane);
        const heads = new Map<string, number>();
        const running = new Map<string, number>();
        let now = 0;
        const busy = (lane: string) => running.get(lane) ?? 0;
        for (const { lane, what, by } of steps) {
          if (what === 'time') now += by;
          if (what === 'head') heads.set(lane, now + by - 5);
          if (what === 'offer') heads.set(lane, Math.min(heads.get(lane) ?? Infinity, now + by - 5));
          if (what === 'none') heads.delete(lane);
          if (what === 'offer') board.offer(lane, now + by - 5, now);
          if (what === 'head' || what === 'none') board.setHead(lane, heads.get(lane), now);
          if (what === 'free' && busy(lane) > 0) {
            running.set(lane, busy(lane) - 1);
            board.free(lane, now);
          }
          if (what !== 'take') continue;
          const able = [...heads].filter(([name, at]) => at <= now && busy(name) < perLane).map(([name]) => name);
          const taken = board.take(now);
          if (able.length === 0) expect(taken).toBeUndefined();
          else expect(able).toContain(taken);
          if (taken !== undefined) running.set(taken, busy(taken) + 1);
        }
        const future = [...heads.values()].filter((at) => at > now);
        if (future.length > 0) expect(board.nextAt()).toBeLessThanOrEqual(Math.min(...future));
      }),
    );
  });
});
