import { expect, test } from 'vitest';
import { reasonsText, reasonText } from '../../policy/reason.ts';

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
  ['spf.result == "fail"', 'spf.result = "unknown"', 'unknown', 'spf.result is unknown'],
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
  ['a.b == c.d', 'a.b = "x", c.d = "y"', false, 'a.b is "x", not c.d, which is "y"'],
  ['a.b == c.d', 'a.b = "x", c.d = "x"', true, 'a.b is "x", and c.d is the same'],
  [
    'a.b in ring.domains',
    'a.b = "x", ring.domains = ["y"]',
    false,
    'a.b, which is "x", is not in ring.domains, which is ["y"]',
  ],
  ['class == "friend"', 'class = "a" or "none"', false, 'class is "a" or "none", not "friend"'],
  ['class == "friend"', 'class = "friend" or "none"', 'unknown', 'class can be "friend" or "none"'],
  // The policy is a filler where the result is unknown.
  [
    'dmarc.policy == "none"',
    'dmarc.policy = "reject"',
    'unknown',
    'it could not be found out whether dmarc.policy == "none"',
  ],
  [
    'client.helo.startsWith("192.")',
    'client.helo = "mx.a.example"',
    false,
    'client.helo, which is "mx.a.example", does not start with "192."',
  ],
  [
    'author.name.lowerAscii().contains("win")',
    'author.name = "WIN"',
    true,
    'author.name, which is "WIN", contains "win", capitals aside',
  ],
  ['a.b - 2 > 8', 'a.b = 11', true, 'a.b - 2 > 8 is true, with a.b = 11'],
  // Cut short: where it ends cannot be told.
  ['a.b == "x"', 'a.b = "yyyy...', false, 'a.b == "x" is false, with a.b = "yyyy...'],
])('%s with %s, which comes to %s, is told as: %s', (text, known, holds, told) => {
  expect(reasonText({ text, known, holds })).toBe(told);
});

test('what one value tells is told once', () => {
  const known = 'rspamd.result = "soft"';
  const atoms = ['rspamd.result == "reject"', 'rspamd.result == "add"', 'rspamd.result == "reject"'].map((text) => ({
    text,
    known,
    holds: false,
  }));
  expect(reasonsText(atoms)).toBe('rspamd.result is "soft", not "reject" or "add"');
});
