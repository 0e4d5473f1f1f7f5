import { expect, test } from 'vitest';
import { reasonText } from '../../policy/reason.ts';

test.each<[text: string, known: string, holds: boolean | 'unknown', told: string]>([
  ['dmarc.result == "fail"', 'dmarc.result = "fail"', true, 'dmarc.result is "fail"'],
  ['dmarc.result == "fail"', 'dmarc.result = "none"', false, 'dmarc.result is "none", not "fail"'],
  ['dmarc.result != "pass"', 'dmarc.result = "none"', true, 'dmarc.result is "none", not "pass"'],
  ['dmarc.result != "pass"', 'dmarc.result = "pass"', false, 'dmarc.result is "pass"'],
  ['class == "none"', 'class = "aligned"', false, 'class is "aligned", not "none"'],
  ['client.loopback', 'client.loopback = false', false, 'client.loopback is false'],
  ['volume.lastHour > 200', 'volume.lastHour = 300', true, 'volume.lastHour is 300, which is more than 200'],
  ['volume.lastHour > 200', 'volume.lastHour = 200', false, 'volume.lastHour is 200, which is not more than 200'],
  [
    'author.domain in lists.friends',
    'author.domain = "a.example"',
    false,
    'author.domain, which is "a.example", is not in lists.friends',
  ],
  [
    'spf.result == "fail"',
    'spf.result = "unknown"',
    'unknown',
    'spf.result == "fail" cannot be told, with spf.result = "unknown"',
  ],
  [
    'size(envelope.recipients) > 3',
    'envelope.recipients = ["a"]',
    false,
    'size(envelope.recipients) > 3 is false, with envelope.recipients = ["a"]',
  ],
  // A name that looks like the end of a value and another fact is still one value.
  [
    'author.name == "x"',
    'author.name = "y\\", author.domain = \\"z"',
    false,
    'author.name is "y\\", author.domain = \\"z", not "x"',
  ],
  ['a.b == c.d', 'a.b = "x", c.d = "y"', false, 'a.b == c.d is false, with a.b = "x", c.d = "y"'],
])('%s with %s, which comes to %s, is told as: %s', (text, known, holds, told) => {
  expect(reasonText({ text, known, holds })).toBe(told);
});
