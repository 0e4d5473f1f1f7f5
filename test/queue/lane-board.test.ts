import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type BoardRule, LaneBoard, type Taken } from '../../queue/lane-board.ts';
import type { LanePace } from '../../queue/queue.ts';

const free: LanePace = { group: (lane) => lane, places: () => 100, notBefore: () => 0 };

function oneGroup(places: number): LanePace {
  return { group: () => 'g', places: () => places, notBefore: () => 0 };
}

function boardWith(rule: BoardRule, ...heads: [lane: string, at: number, taken?: 'taken'][]): LaneBoard {
  const board = new LaneBoard(rule);
  for (const [lane, at, taken] of heads) {
    board.setHead(lane, at, 0);
    if (taken === undefined) continue;
    board.take(0);
    board.setHead(lane, undefined, 0);
  }
  return board;
}

describe('the lane board', () => {
  test('lanes take turns', () => {
    const board = new LaneBoard({ perLane: 10 });
    for (const lane of ['a', 'b', 'c']) board.setHead(lane, 0, 0);
    expect(Array.from({ length: 7 }, () => board.take(0)?.lane)).toEqual(['a', 'b', 'c', 'a', 'b', 'c', 'a']);
  });

  describe('a job that is about to come', () => {
    test('gets a free place, which counts as taken', () => {
      const board = new LaneBoard({ perLane: 1 });
      const place = board.takeAhead('a', 0)!;
      expect(place.lane).toBe('a');
      expect(board.takeAhead('a', 0)).toBeUndefined();
      board.setHead('a', 0, 0);
      expect(board.take(0)).toBeUndefined();
      board.free(place, 0);
      expect(board.take(0)?.lane).toBe('a');
    });

    const rows: [why: string, board: () => LaneBoard][] = [
      ['not before an older one of its lane', () => boardWith({ perLane: 9 }, ['a', 0], ['a', 0])],
      ['not before another lane whose turn it is', () => boardWith({ perLane: 9 }, ['b', 0])],
      ['not in a lane that is paused', () => new LaneBoard({ perLane: 9, isPaused: () => true })],
      ['not in a group without a place', () => boardWith({ perLane: 9, pace: oneGroup(1) }, ['b', 0, 'taken'])],
      ['not in a group that rests', () => new LaneBoard({ perLane: 9, pace: { ...oneGroup(5), notBefore: () => 9 } })],
    ];
    test.each(rows)('%s', (_, board) => {
      expect(board().takeAhead('a', 0)).toBeUndefined();
    });

    test('does not wait for one that is due later', () => {
      expect(boardWith({ perLane: 9 }, ['a', 10], ['b', 10]).takeAhead('a', 0)?.lane).toBe('a');
    });
  });

  test('a lane that waits is offered at its time, not before, and its time is known', () => {
    const board = new LaneBoard({ perLane: 1 });
    board.setHead('late', 20, 0);
    board.setHead('soon', 10, 0);
    expect([board.nextAt(), board.take(9)]).toEqual([10, undefined]);
    expect([board.take(10)?.lane, board.take(10), board.nextAt()]).toEqual(['soon', undefined, 20]);
    board.setHead('late', undefined, 10);
    expect(board.take(99)).toBeUndefined();
    expect(board.nextAt()).toBeUndefined();
  });

  test('lanes of a group share its places, and the lanes of other groups do not wait for them', () => {
    const pace = { ...free, group: (lane: string) => lane.slice(0, 1), places: () => 2 };
    const board = new LaneBoard({ perLane: 2, pace });
    for (const lane of ['a1', 'a2', 'a3', 'b1']) board.setHead(lane, 0, 0);
    const taken = [board.take(0), board.take(0), board.take(0), board.take(0), board.take(0)];
    expect(taken.map((one) => one?.lane)).toEqual(['a1', 'b1', 'a2', 'b1', undefined]);
    board.free(taken[0]!, 0);
    expect(board.take(0)?.lane).toBe('a3');
  });

  test('a group that is to rest rests until its time, whatever is due in it', () => {
    let restsUntil = 50;
    const pace = { ...free, group: () => 'g', notBefore: () => restsUntil };
    const board = new LaneBoard({ perLane: 2, pace });
    board.setHead('a', 0, 0);
    expect([board.take(0), board.nextAt(), board.take(49)]).toEqual([undefined, 50, undefined]);
    expect(board.take(50)?.lane).toBe('a');
    restsUntil = 80;
    expect([board.take(60), board.nextAt()]).toEqual([undefined, 80]);
    expect(board.take(80)?.lane).toBe('a');
  });

  test('what an attempt has taught is heeded by the next: a group grows and shrinks while it works', () => {
    let places = 1;
    const board = new LaneBoard({ perLane: 9, pace: { ...free, places: () => places } });
    board.setHead('a', 0, 0);
    const first = board.take(0)!;
    expect(board.take(0)).toBeUndefined();
    places = 3;
    board.free(first, 0);
    const three = [board.take(0)!, board.take(0)!, board.take(0)!];
    expect(board.take(0)).toBeUndefined();
    places = 1;
    board.free(three[0]!, 0);
    expect(board.take(0)).toBeUndefined();
  });

  test('a lane whose group becomes known moves there, and its running attempts count where they began', () => {
    const group = new Map<string, string>();
    const pace = { ...free, group: (lane: string) => group.get(lane) ?? lane, places: () => 1 };
    const board = new LaneBoard({ perLane: 2, pace });
    board.setHead('a', 0, 0);
    board.setHead('b', 0, 0);
    const [a, b] = [board.take(0)!, board.take(0)!];
    group.set('a', 'host').set('b', 'host');
    board.free(a, 0);
    board.free(b, 0);
    expect([board.take(0)?.group, board.take(0)]).toEqual(['host', undefined]);
  });

  test('a paused lane is passed over, and goes on when it is looked at again', () => {
    const paused = new Set(['a']);
    const board = new LaneBoard({ perLane: 1, isPaused: (lane) => paused.has(lane) });
    board.setHead('a', 0, 0);
    board.setHead('b', 0, 0);
    expect([board.take(0)?.lane, board.take(0)]).toEqual(['b', undefined]);
    paused.clear();
    board.again(0);
    expect(board.take(0)?.lane).toBe('a');
  });

  test('however often a lane or a group is looked at, it waits once', () => {
    const board = new LaneBoard({ perLane: 1, pace: { ...free, notBefore: (_, now) => now + 10 } });
    for (let i = 0; i < 1000; i += 1) board.setHead('later', 100, 0);
    for (let i = 0; i < 1000; i += 1) board.setHead('resting', 0, i / 1000);
    expect(board.take(1)).toBeUndefined();
    expect(board.nextAt()).toBe(10);
  });

  test('against a model: no lane or group over its limit, none forgotten, the next time right', () => {
    const step = fc.record({
      lane: fc.constantFrom('a1', 'a2', 'b1', 'b2'),
      what: fc.constantFrom('head', 'none', 'take', 'free', 'time', 'rest'),
      by: fc.integer({ min: 0, max: 20 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.constantFrom(3, 100), (steps, perGroup) => {
        const perLane = 2;
        const rests = new Map<string, number>();
        const groupOf = (lane: string) => lane.slice(0, 1);
        const pace = { group: groupOf, places: () => perGroup, notBefore: (group: string) => rests.get(group) ?? 0 };
        const board = new LaneBoard({ perLane, pace });
        const heads = new Map<string, number>();
        const running: Taken[] = [];
        let now = 0;
        const busy = (which: (taken: Taken) => boolean) => running.filter(which).length;
        for (const { lane, what, by } of steps) {
          if (what === 'time') now += by;
          if (what === 'rest') rests.set(groupOf(lane), now + by);
          if (what === 'head') heads.set(lane, now + by - 5);
          if (what === 'none') heads.delete(lane);
          if (what === 'head' || what === 'none') board.setHead(lane, heads.get(lane), now);
          const ended = what === 'free' ? running.shift() : undefined;
          if (ended !== undefined) board.free(ended, now);
          if (what !== 'take') continue;
          const able = [...heads].filter(([name, at]) => {
            const group = groupOf(name);
            const places = busy((one) => one.lane === name) < perLane && busy((one) => one.group === group) < perGroup;
            return at <= now && places && (rests.get(group) ?? 0) <= now;
          });
          const taken = board.take(now);
          if (able.length === 0) expect(taken).toBeUndefined();
          else expect(able.map(([name]) => name)).toContain(taken?.lane);
          if (taken !== undefined) running.push(taken);
        }
        const future = [...heads.values()].filter((at) => at > now);
        if (future.length > 0) expect(board.nextAt()).toBeLessThanOrEqual(Math.min(...future));
      }),
    );
  });
});
