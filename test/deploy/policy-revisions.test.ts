import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PolicyHistory } from '../../deploy/process/policy-history.ts';
import { withoutShadow } from '../../deploy/process/promotion.ts';
import { loadPolicy } from '../../policy/load.ts';
import { readyMade } from '../../policy/ready-made.ts';
import { standardPolicy } from '../../policy/standard.ts';

describe('a rule is promoted', () => {
  const rows: readonly [why: string, before: string, after: string][] = [
    [
      'and its neighbours stay',
      '  - id: a\n    when: true # why\n    mode: shadow\n    do: junk\n',
      '  - id: a\n    when: true # why\n    do: junk\n',
    ],
    ['where the mode stands last', '  - id: a\n    do: junk\n    mode: shadow   # soon\n', '  - id: a\n    do: junk\n'],
    ['where the mode stands first', '  - mode: shadow\n    id: a\n    do: junk\n', '  - id: a\n    do: junk\n'],
    ['in one line', '  - {id: a, mode: shadow, do: junk}\n', '  - {id: a, do: junk}\n'],
    ['in one line, at its end', '  - {id: a, do: junk, mode: shadow}\n', '  - {id: a, do: junk}\n'],
    [
      'and another of the same shape is not',
      '  - id: b\n    mode: shadow\n  - id: a\n    mode: shadow\n    do: junk\n',
      '  - id: b\n    mode: shadow\n  - id: a\n    do: junk\n',
    ],
  ];
  it.each(rows)('%s', (_why, before, after) => {
    expect(withoutShadow(`rules:\n${before}`, 'a')).toEqual({ kind: 'promoted', text: `rules:\n${after}` });
  });

  it('or is not there, or acts already', () => {
    expect(withoutShadow(standardPolicy, 'nobody').kind).toBe('no-such-rule');
    expect(withoutShadow(standardPolicy, 'spf-fail').kind).toBe('acts-already');
    expect(withoutShadow('not: [a policy', 'a').kind).toBe('no-such-rule');
  });

  it.each(['claims-to-be-ours', 'strangers-slow-down'])('%s of the standard policy, which stays good', (id) => {
    const promoted = withoutShadow(standardPolicy, id);
    const loaded = loadPolicy(promoted.kind === 'promoted' ? promoted.text : '');
    expect(loaded.kind === 'policy' && loaded.policy.rules.find((rule) => rule.id === id)?.mode).toBe('enforce');
  });
});

describe('the history of policies', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'epost-policies-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('keeps each text once, with who and when, the newest first, and gives it back octet for octet', () => {
    const file = path.join(folder, 'policy.yaml');
    const history = new PolicyHistory(path.join(folder, 'history'));
    for (const [now, { text, name }] of [...readyMade, ...readyMade].entries()) {
      writeFileSync(file, text);
      const loaded = loadPolicy(text);
      if (loaded.kind !== 'policy') throw new Error('a ready-made policy does not load');
      history.keep(loaded.policy, { file, why: name, now: now * 1_000 });
    }
    const revisions = history.list();
    expect(revisions.map(({ why }) => why)).toEqual(readyMade.map(({ name }) => name).toReversed());
    expect(revisions.every(({ author }) => author === os.userInfo().username)).toBe(true);
    const [strict] = history.find(revisions.find(({ why }) => why === 'strict')?.hash.slice(0, 8) ?? '');
    expect(strict && history.textOf(strict)).toBe(readyMade.find(({ name }) => name === 'strict')?.text);
  });

  it('passes a damaged entry over', () => {
    const history = new PolicyHistory(folder);
    writeFileSync(path.join(folder, `${'a'.repeat(64)}.json`), '{"hash": 1}');
    expect(history.list()).toEqual([]);
    expect(readFileSync(path.join(folder, `${'a'.repeat(64)}.json`), 'utf8')).toContain('1');
  });
});
