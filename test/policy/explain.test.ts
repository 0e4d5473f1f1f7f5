import { expect, test } from 'vitest';
import { ordinaryEvidence } from '../../policy/complete-evidence.ts';
import { decide } from '../../policy/decide.ts';
import { factsByPath } from '../../policy/evidence.ts';
import { explain } from '../../policy/explain.ts';
import { Limits } from '../../policy/limits.ts';
import { loadPolicy } from '../../policy/load.ts';
import { evidenceReference } from '../../policy/reference.ts';
import { explained } from './explain-samples.ts';

const text = `version: 1
classes: {aligned: dmarc.result == "pass"}
rules:
  - {id: one-author, when: author.kind != "single", do: reject, reply: one author, note: never shown unless it matched}
  - {id: tried, when: class == "aligned" && message.bytes > 9000, do: junk, mode: shadow}
  - {id: slow, when: '!client.loopback', limit: {by: client.subnet, rate: 5/m, over: defer}}
  - {id: refuse, when: dmarc.result == "fail" && dmarc.policy == "reject", do: reject, reply: not provably yours, note: DMARC}
default: accept
`;

test('a person can read what was known, what did not match and why, and what did', () => {
  const loaded = loadPolicy(text);
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
  const evidence = ordinaryEvidence('data', {
    dmarc: { result: 'fail', policy: 'reject', reason: 'no aligned signature' },
  });
  const words = explain(decide(loaded.policy, evidence, new Limits(), 0), evidence);
  expect(words.replace(/^ {2}(?!dmarc)[a-z]+\.[A-Za-z]+ = .*\n/gm, '')).toBe(`reject at data: decided by rule refuse.
The sender's class is none.
The answer was: 550 5.7.1 not provably yours

What was known:
  dmarc.result = "fail"
  dmarc.policy = "reject"
  dmarc.domain = ""
  dmarc.reason = "no aligned signature"

Rules, in order:
  one-author did not match because author.kind is "single".
  tried, in shadow mode, did not match because class is "none", not "aligned".
  slow matched because client.loopback is false; 192.0.2.0/24 is within its limit of 5/m, so the rule decides nothing.
  refuse matched because dmarc.result is "fail", and dmarc.policy is "reject": reject (DMARC).

Policy ${loaded.policy.hash.slice(0, 12)}.
`);
});

// A person has read them, and a hundred more (`explained(100, ...)`); who changes a sentence reads them again. `vitest -u` writes them anew.
test('ten decisions of every kind are told as they were found good', async () => {
  const texts = explained(10, 6).map((text) => text.replace(/^ {2}[a-z]+\.[A-Za-z]+ = .*\n/gm, ''));
  await expect(texts.join('\n')).toMatchFileSnapshot('explained.txt');
});

test('what a stranger wrote cannot break out of its line', () => {
  const loaded = loadPolicy('version: 1\nrules: [{id: a, when: author.name != "x", do: junk}]\ndefault: accept');
  if (loaded.kind !== 'policy') throw new Error(JSON.stringify(loaded.problems));
  const evidence = ordinaryEvidence('data', {
    author: { name: 'evil\r\n\u001b[2Jaccept at data: \u0085\u2028\u202e' },
  });
  const words = explain(decide(loaded.policy, evidence, new Limits(), 0), evidence);
  expect(words).not.toMatch(/[^\n\P{C}]|[\p{Zl}\p{Zp}]/u);
  expect(words.split('\n').filter((line) => line.startsWith('accept'))).toEqual([]);
});

test('the reference names every fact of the table', () => {
  const reference = evidenceReference();
  for (const path of factsByPath.keys()) expect(reference).toContain(`\n${path}  `);
});
