import { describe, expect, test } from 'vitest';
import { type Course, defaultSetbackDelays, type Ending, newCourse, settle } from '../../queue/course.ts';

const at = (course: Course, ending: Ending) => settle(course, ending, 1_000, 1_500, defaultSetbackDelays);
const setbacks = (n: number): Course => ({ ...newCourse, setbacks: n });

describe('what becomes of a job after an attempt', () => {
  const rows: [why: string, course: Course, ending: Ending, state: string, dueAt: number][] = [
    ['done is done', newCourse, { kind: 'done', why: '' }, 'done', 1_500],
    ['never is set aside', newCourse, { kind: 'never', why: '' }, 'failed', 1_500],
    ['later waits for its time', newCourse, { kind: 'later', at: 9_000, why: '' }, 'due', 9_000],
    ['later in the past is now', newCourse, { kind: 'later', at: 5, why: '' }, 'due', 1_500],
    [
      'a time that is none is the worker’s mistake',
      newCourse,
      { kind: 'later', at: Number.NaN, why: '' },
      'due',
      6_500,
    ],
    [
      'progress beyond its limit is the worker’s mistake',
      newCourse,
      { kind: 'later', at: 9_000, why: '', progress: new Uint8Array(300_000) },
      'due',
      6_500,
    ],
    ['a first crash is tried again at once', newCourse, { kind: 'crashed', why: '' }, 'due', 1_500],
    ['a fourth crash waits', setbacks(3), { kind: 'crashed', why: '' }, 'due', 31_500],
    ['a seventh crash in a row may still be bad luck', setbacks(6), { kind: 'crashed', why: '' }, 'due', 301_500],
    ['an eighth crash in a row is poison', setbacks(7), { kind: 'crashed', why: '' }, 'failed', 1_500],
    ['a fifth throw in a row is poison', setbacks(4), { kind: 'threw', why: '' }, 'failed', 1_500],
    ['being stopped is nobody’s fault', setbacks(4), { kind: 'interrupted' }, 'due', 1_500],
  ];
  test.each(rows)('%s', (_, course, ending, state, dueAt) => {
    expect(at(course, ending)).toMatchObject({ state, dueAt });
  });

  test('an answer ends a row of setbacks', () => {
    expect(at(setbacks(4), { kind: 'later', at: 0, why: '' }).course.setbacks).toBe(0);
  });

  test('fifty attempts are kept, all are counted, and no reason is endless', () => {
    let course: Course = newCourse;
    for (let i = 0; i < 60; i += 1)
      course = at(course, { kind: 'later', at: 0, why: `${i}${'x'.repeat(5_000)}` }).course;
    expect([course.attempts.length, course.attemptCount]).toEqual([50, 60]);
    expect(course.attempts.every(({ why }) => why.length <= 1_000)).toBe(true);
    expect(course.firstFailureAt).toBe(1_500);
  });
});
