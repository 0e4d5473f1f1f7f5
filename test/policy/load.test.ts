import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { loadPolicy } from '../../policy/load.ts';
import { problemText } from '../../policy/problem.ts';

const folder = path.join(import.meta.dirname, 'refused');
const refused = readdirSync(folder).filter((name) => name.endsWith('.yaml'));

// One file for each mistake, with the message a person gets beside it. Missing .txt files are written by `vitest -u`.
test.each(refused)('%s is refused with the message beside it', async (name) => {
  const loaded = loadPolicy(readFileSync(path.join(folder, name), 'utf8'));
  expect(loaded.kind).toBe('problems');
  const problems = loaded.kind === 'problems' ? loaded.problems : [];
  expect(problems.some((problem) => problem.severity === 'error')).toBe(true);
  const text = `${problems.map((problem) => problemText(problem, name)).join('\n')}\n`;
  await expect(text).toMatchFileSnapshot(path.join(folder, name.replace('.yaml', '.txt')));
});

test('twenty mistakes in one file are found in one run', () => {
  const loaded = loadPolicy(readFileSync(path.join(folder, 'twenty-mistakes-at-once.yaml'), 'utf8'));
  expect(loaded.kind === 'problems' && loaded.problems.length).toBeGreaterThanOrEqual(20);
});

const example = `
version: 1
lists:
  forwarders: [lists.example.net]
classes:                 # evidence to exactly one class, first match; \`none\` is implied last
  ring-user:   identity.verified && identity.ring == ring.name
  ambiguous:   author.kind != "single"
  aligned:     dmarc.result == "pass"
  forwarded:   arc.result == "pass" && arc.sealer in lists.forwarders
rules:                   # first match decides
  - id: one-author
    when: class == "ambiguous"
    do: reject
    reply: the From field must name exactly one author
  - id: dmarc-reject
    when: dmarc.result == "fail" && dmarc.policy == "reject" && class != "forwarded"
    do: reject
  - id: strangers-slow-down
    when: class == "none"
    limit: {by: client.subnet, rate: 20/h, over: defer}
    do: junk
    mode: shadow         # observe only
default: accept
expect:                  # checked whenever the file is loaded
  - {given: {author: {kind: none}}, verdict: reject, rule: one-author}
`;

test('the example of the design loads, with one warning for the reject without a reply', () => {
  const loaded = loadPolicy(example);
  expect(loaded.kind).toBe('policy');
  if (loaded.kind !== 'policy') return;
  expect(loaded.warnings.map(({ code, path: place }) => `${code} ${place}`)).toEqual(['reject-without-reply rules[1]']);
  expect(loaded.policy.rules.map((rule) => [rule.id, rule.mode, rule.verdict])).toEqual([
    ['one-author', 'enforce', 'reject'],
    ['dmarc-reject', 'enforce', 'reject'],
    ['strangers-slow-down', 'shadow', 'junk'],
  ]);
});

test('the hash is of the text, so a changed comment is another policy', () => {
  const hash = (text: string): string | undefined => {
    const loaded = loadPolicy(text);
    return loaded.kind === 'policy' ? loaded.policy.hash : undefined;
  };
  expect(hash('version: 1\ndefault: accept\n')).toMatch(/^[0-9a-f]{64}$/);
  expect(hash('version: 1\ndefault: accept\n')).not.toBe(hash('version: 1\ndefault: accept # yes\n'));
});

const warned: readonly [why: string, text: string, code: string][] = [
  [
    'a reject without a reply gets the default one, and a warning',
    'rules: [{id: a, when: client.loopback, do: reject}]',
    'reject-without-reply',
  ],
  [
    'a reply on a rule that refuses nothing is idle',
    'rules: [{id: a, when: client.loopback, do: junk, reply: hello}]',
    'reply-unused',
  ],
  [
    'a class after the last one asked for is idle',
    'classes: {a: tls.used}\nrules: [{id: a, when: client.loopback, do: junk}]',
    'class-unused',
  ],
  [
    'a condition that is plainly false never matches',
    'rules: [{id: a, when: client.loopback && false, do: junk}]',
    'never-matches',
  ],
];

test.each(warned)('%s', (_why, text, code) => {
  const loaded = loadPolicy(`version: 1\n${text}\ndefault: accept\n`);
  expect(loaded.kind === 'policy' ? loaded.warnings.map((warning) => warning.code) : loaded).toEqual([code]);
});

test('a file that is too large is refused unread', () => {
  const loaded = loadPolicy(`version: 1\ndefault: accept\n#${'x'.repeat(200_000)}`);
  expect(loaded.kind === 'problems' && loaded.problems.map(({ code }) => code)).toEqual(['file-too-large']);
});

const hostile: readonly [why: string, text: string][] = [
  ['endless brackets', '['.repeat(120_000)],
  ['endless mappings', '{a: '.repeat(30_000)],
  ['endless dashes', '- '.repeat(60_000)],
  ['endless quotes', '"'.repeat(120_000)],
  ['endless colons', ': '.repeat(60_000)],
  ['a condition of brackets', `version: 1\nrules: [{id: a, when: "${'('.repeat(1900)}", do: junk}]\ndefault: accept\n`],
  [
    'a condition of negations',
    `version: 1\nrules: [{id: a, when: "${'!'.repeat(1900)}tls.used", do: junk}]\ndefault: accept\n`,
  ],
  [
    'a condition longer than any reader has patience',
    `version: 1\nrules: [{id: a, when: "${'tls.used || '.repeat(9000)}true", do: junk}]\ndefault: accept\n`,
  ],
];

test.each(hostile)('%s make a problem, not a crash', (_why, text) => {
  expect(loadPolicy(text).kind).toBe('problems');
});
