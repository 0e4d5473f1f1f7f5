import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  afterAnswer,
  defaultPaceLimits,
  type GroupAnswer,
  type GroupPace,
  newPace,
} from '../../../../gateway/relay/pace/group-pace.ts';

const limits = { firstPlaces: 2, maxPlaces: 8 };
const fine: GroupAnswer = { kind: 'fine', tookMs: 100 };
const slow: GroupAnswer = { kind: 'fine', tookMs: 20_000 };
const busy: GroupAnswer = { kind: 'busy', text: '421 too many connections' };
const away: GroupAnswer = { kind: 'away', text: 'no answer' };

/** One answer each second, with no spread. */
function after(answers: readonly GroupAnswer[], everyMs = 1_000): GroupPace {
  let state = newPace(limits);
  for (const [i, answer] of answers.entries()) state = afterAnswer(state, answer, limits, i * everyMs, () => 0.5);
  return state;
}

describe('the pace of a group', () => {
  const rows: readonly [why: string, answers: GroupAnswer[], everyMs: number, expected: Partial<GroupPace>][] = [
    ['starts low', [], 1, { places: 2, restUntil: 0, awayUntil: 0 }],
    ['grows by one with each good answer at first', [fine, fine, fine], 1, { places: 5 }],
    ['and then with each round of them', Array.from({ length: 8 }, () => fine), 1, { places: 6 }],
    ['ends growing at its bound', Array.from({ length: 200 }, () => fine), 1, { places: 8 }],
    [
      'does not grow for a host that takes its time',
      Array.from({ length: 50 }, () => slow),
      1,
      { places: 2, isQuick: false },
    ],
    [
      'halves and rests when the host asks for less',
      [fine, fine, fine, fine, fine, busy],
      1_000,
      { places: 2, restUntil: 7_000 },
    ],
    ['rests longer each time it is asked again', [busy, busy, busy], 100_000, { places: 1, restUntil: 208_000 }],
    [
      'takes refusals that were under way together as one',
      [busy, busy, busy],
      1,
      { places: 1, restUntil: 2_000, troubles: 1 },
    ],
    ['rests a minute at most', Array.from({ length: 30 }, () => busy), 100_000, { restUntil: 2_960_000 }],
    ['does not rest for greylisting, and does less', [fine, fine, { kind: 'slower' }], 1, { places: 2, restUntil: 0 }],
    [
      'asks a host that is away ever more seldom, and one at a time',
      [away, away],
      100_000,
      { places: 1, awayUntil: 120_000 },
    ],
    [
      'asks a dead host four times an hour at last',
      Array.from({ length: 30 }, () => away),
      1_000_000,
      { awayUntil: 29_900_000 },
    ],
    [
      'has forgotten all trouble after a good answer',
      [away, away, busy, fine],
      100_000,
      { troubles: 0, awayUntil: 0, restUntil: 0 },
    ],
  ];
  test.each(rows)('%s', (_, answers, everyMs, expected) => {
    expect(after(answers, everyMs)).toMatchObject(expected);
  });

  test('keeps within its bounds whatever is answered, and what troubles it is told', () => {
    const answer = fc.oneof(
      fc.record({ kind: fc.constant('fine' as const), tookMs: fc.nat(60_000) }),
      fc.constantFrom<GroupAnswer>(busy, away, { kind: 'slower' }),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(answer, fc.nat(2_000_000)), { maxLength: 60 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (steps, chance) => {
          let state = newPace(defaultPaceLimits);
          let now = 1_000;
          for (const [one, passed] of steps) {
            now += passed;
            state = afterAnswer(state, one, defaultPaceLimits, now, () => chance);
            expect(state.places).toBeGreaterThanOrEqual(1);
            expect(state.places).toBeLessThanOrEqual(defaultPaceLimits.maxPlaces);
            expect(state.restUntil).toBeLessThanOrEqual(now + 75_000);
            expect(state.awayUntil).toBeLessThanOrEqual(now + 1_125_000);
            if (one.kind === 'busy' || one.kind === 'away') expect(state.said?.text).toBe(one.text);
          }
        },
      ),
    );
  });
});
