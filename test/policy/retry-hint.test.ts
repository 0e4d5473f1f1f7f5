import { expect, test } from 'vitest';
import { hintedText, inWords } from '../../policy/retry-hint.ts';

const reply = { code: 451, enhanced: '4.7.1', text: 'too many' };

test.each([
  ['in seconds', 1_500, '2 s'],
  ['in minutes from two of them on', 120_000, '2 min'],
  ['in hours from two of them on', 7_200_001, '3 h'],
  ['in days from two of them on', 172_800_000, '2 days'],
])('a time is told %s, never too short', (_why, ms, text) => {
  expect(inWords(ms)).toBe(text);
});

test.each([
  ['tells when to come again', { reply, retryAfterMs: 90_000 }, 'too many; next try in 90 s'],
  ['that knows no time is as it was written', { reply }, 'too many'],
  [
    'that fills its line is as it was written',
    { reply: { ...reply, text: 'x'.repeat(410) }, retryAfterMs: 1 },
    'x'.repeat(410),
  ],
  ['that is none stays none', { retryAfterMs: 1 }, undefined],
])('an answer %s', (_why, decision, text) => {
  expect(hintedText(decision)).toBe(text);
});
