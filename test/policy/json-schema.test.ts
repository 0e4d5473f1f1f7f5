import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { factsByPath } from '../../policy/evidence.ts';
import { policySchema } from '../../policy/json-schema.ts';
import { loadPolicy } from '../../policy/load.ts';
import type { PolicyOwner } from '../../policy/loader.ts';
import { problemCodes } from '../../policy/problem-codes.ts';
import { readyMade, readyMadeForRecipients } from '../../policy/ready-made.ts';

// An independent reader of JSON schema.
const reader = (whose: PolicyOwner) => z.fromJSONSchema(policySchema(whose));

describe('the schema for editors', () => {
  test.each<[string, PolicyOwner, string]>([
    ...readyMade.map(({ name, text }): [string, PolicyOwner, string] => [name, 'organisation', text]),
    ...readyMadeForRecipients.map(({ name, text }): [string, PolicyOwner, string] => [name, 'recipient', text]),
  ])('takes the policy %s', (_name, whose, text) => {
    expect(reader(whose).safeParse(parse(text))).toMatchObject({ success: true });
  });

  test.each<[why: string, rules: string]>([
    ['a verdict that is none', '- {id: a, do: bounce}'],
    ['a rule without a name', '- {do: junk}'],
    ['a rule that does nothing', '- {id: a, when: "true"}'],
    ['a rate that is none', '- {id: a, limit: {by: client.ip, rate: often, over: defer}}'],
    ['an unknown key', '- {id: a, do: junk, wenn: "true"}'],
    ['a stage of somebody else', '- {id: a, stages: notification, do: junk}'],
  ])('refuses %s, as the loader does', (_why, rules) => {
    const text = `version: 1\nrules:\n  ${rules}\ndefault: accept\n`;
    expect(reader('organisation').safeParse(parse(text)).success).toBe(false);
    expect(loadPolicy(text).kind).toBe('problems');
  });

  it('knows every fact of the table with its meaning', () => {
    const texts = [policySchema('organisation'), policySchema('recipient')].map((schema) => JSON.stringify(schema));
    for (const { name, meaning } of factsByPath.values())
      expect(
        texts.some(
          (text) => text.includes(JSON.stringify(name)) && text.includes(JSON.stringify(meaning).slice(1, -1)),
        ),
      ).toBe(true);
  });
});

it('every code of a problem is said somewhere', () => {
  const folder = path.resolve('policy');
  const sources = readdirSync(folder)
    .filter((name) => name.endsWith('.ts') && name !== 'problem-codes.ts')
    .map((name) => readFileSync(path.join(folder, name), 'utf8'))
    .join('\n');
  expect(Object.keys(problemCodes).filter((code) => !sources.includes(`'${code}'`))).toEqual([]);
});
