import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createStagedKeys,
  readSigningKeys,
  readStagedKeys,
  removeKeys,
  writeStages,
} from '../../../gateway/dkim/key-stages.ts';
import { createDkimKeys } from '../../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../../gateway/dkim/record.ts';
import { seenInDns } from '../../../gateway/dkim/seen.ts';
import { SigningKeys } from '../../../gateway/dkim/signing-keys.ts';
import {
  afterStep,
  nextStep,
  publishedWaitMs,
  retiringWaitMs,
  type Seen,
  type Stage,
  type StagedKey,
} from '../../../gateway/dkim/stages.ts';
import type { Answer, Resolver } from '../../../gateway/dns/answer.ts';

const now = 1_000_000_000_000;
const right: Seen = { kind: 'right' };
const absent: Seen = { kind: 'absent', name: 'n', found: 'no record' };
const unknown: Seen = { kind: 'unknown', name: 'n', found: 'time-out' };

const key = (selector: string, stage: Stage, since = now): StagedKey => ({ selector, stage, since });

const rows: readonly [string, readonly StagedKey[], Readonly<Record<string, Seen>>, object][] = [
  ['where nothing is under way a pair may be made', [key('a', 'signing')], {}, { kind: 'make' }],
  [
    'what the DNS does not show does not sign',
    [key('a', 'signing'), key('b', 'new')],
    { b: absent },
    { kind: 'publish', selectors: ['b'] },
  ],
  [
    'a silent name server is no proof that the record is there',
    [key('a', 'signing'), key('b', 'published', now - publishedWaitMs)],
    { b: unknown },
    { kind: 'publish', selectors: ['b'] },
  ],
  [
    'one record of the pair is not enough',
    [key('a', 'signing'), key('br', 'new'), key('be', 'new')],
    { br: right, be: absent },
    { kind: 'publish', selectors: ['br', 'be'] },
  ],
  [
    'what the DNS shows is published',
    [key('a', 'signing'), key('b', 'new')],
    { b: right },
    { kind: 'mark-published', selectors: ['b'] },
  ],
  [
    'a published key waits until all name servers have it',
    [key('a', 'signing'), key('b', 'published', now - publishedWaitMs + 1)],
    { b: right },
    { kind: 'wait', until: now + 1 },
  ],
  [
    'then it signs, and the old one does not',
    [key('a', 'signing'), key('b', 'published', now - publishedWaitMs)],
    { b: right },
    { kind: 'switch', selectors: ['b'], retire: ['a'] },
  ],
  [
    'a record that has gone again is not signed for',
    [key('a', 'signing'), key('b', 'published', 0)],
    { b: absent },
    { kind: 'publish' },
  ],
  [
    'an old key stays as long as its mail may be under way',
    [key('a', 'retiring', now - retiringWaitMs + 1), key('b', 'signing')],
    {},
    { kind: 'wait', stage: 'retiring', until: now + 1 },
  ],
  [
    'and then goes',
    [key('a', 'retiring', now - retiringWaitMs), key('b', 'signing')],
    {},
    { kind: 'remove', selectors: ['a'] },
  ],
];

describe('the next step of a rotation', () => {
  it.each(rows)('%s', (_why, keys, seen, step) => {
    expect(nextStep(keys, new Map(Object.entries(seen)), now)).toMatchObject(step);
  });

  it('never leaves a gateway without a key that signs, and never signs with what the DNS has not shown for an hour', () => {
    const event = fc.record({
      waitMs: fc.integer({ min: 0, max: 10 * 86_400_000 }),
      says: fc.constantFrom(right, absent, unknown),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        let keys: StagedKey[] = [key('k0', 'signing', 0)];
        let at = now;
        let made = 0;
        const shown = new Map<string, number>();
        for (const { waitMs, says } of events) {
          at += waitMs;
          const seen = new Map(keys.map(({ selector }) => [selector, says]));
          if (says.kind === 'right') for (const { selector } of keys) shown.set(selector, shown.get(selector) ?? at);
          const step = nextStep(keys, seen, at);
          keys = afterStep(keys, step, at);
          if (step.kind === 'make') keys.push(key(`k${++made}`, 'new', at));
          const signing = keys.filter(({ stage }) => stage === 'signing');
          expect(signing).not.toHaveLength(0);
          for (const { selector } of signing)
            if (selector !== 'k0') expect(at - (shown.get(selector) ?? at)).toBeGreaterThanOrEqual(publishedWaitMs);
        }
      }),
    );
  });
});

describe('keys and stages on disk', () => {
  let dir = '';
  beforeEach(async () => {
    dir = path.join(await mkdtemp(path.join(tmpdir(), 'epost-dkim-')), 'keys');
    await createDkimKeys(dir, '202601');
  });
  afterEach(() => rm(path.dirname(dir), { recursive: true }));

  const selectors = async (): Promise<string[]> => (await readSigningKeys(dir)).map(({ selector }) => selector);

  it('keys of a home that is older than the stages sign', async () => {
    expect(await selectors()).toEqual(['202601e', '202601r']);
  });

  it('a new pair does not sign, and only its owner can read it', async () => {
    await createStagedKeys(dir, '202602', now);
    expect(await selectors()).toEqual(['202601e', '202601r']);
    expect((await readStagedKeys(dir)).filter(({ stage }) => stage === 'new')).toHaveLength(2);
    for (const name of ['202602r.pem', 'stages.json']) expect((await stat(path.join(dir, name))).mode & 0o077).toBe(0);
  });

  it('keys whose stage says so take over, and the old ones go', async () => {
    await createStagedKeys(dir, '202602', now);
    const switched = afterStep(
      await readStagedKeys(dir),
      { kind: 'switch', selectors: ['202602e', '202602r'], retire: ['202601e', '202601r'] },
      now,
    );
    await writeStages(dir, switched);
    expect(await selectors()).toEqual(['202602e', '202602r']);
    const gone = ['202601e', '202601r'];
    await removeKeys(dir, gone, afterStep(switched, { kind: 'remove', selectors: gone }, now));
    expect((await readStagedKeys(dir)).map(({ selector, stage }) => `${selector} ${stage}`)).toEqual([
      '202602e signing',
      '202602r signing',
    ]);
  });

  it('a damaged list of stages is a fault that says what to do, and not a reason to sign with everything', async () => {
    await writeFile(path.join(dir, 'stages.json'), '{"version": 1, "keys": [{"selector": "x", "stage": "old"}]}');
    await expect(readSigningKeys(dir)).rejects.toMatchObject({
      code: 'dkim-damaged',
      message: expect.stringContaining('backup'),
    });
  });

  it('a folder in which nothing may sign is a fault', async () => {
    await writeStages(dir, [key('202601e', 'retiring'), key('202601r', 'retiring')]);
    await expect(readSigningKeys(dir)).rejects.toMatchObject({ code: 'dkim-missing' });
  });

  it('a gateway that runs takes up a switch, and keeps its keys when the folder is damaged', async () => {
    const changes: string[][] = [];
    const faults: unknown[] = [];
    const keys = await SigningKeys.open({
      dir,
      onChange: (now) => changes.push([...now]),
      onFault: (fault) => faults.push(fault),
    });
    try {
      await keys.refresh();
      expect(changes).toEqual([]);
      await createStagedKeys(dir, '202602', now);
      await writeStages(
        dir,
        afterStep(
          await readStagedKeys(dir),
          { kind: 'switch', selectors: ['202602e', '202602r'], retire: ['202601e', '202601r'] },
          now,
        ),
      );
      await keys.refresh();
      expect(changes).toEqual([['202602e', '202602r']]);
      expect(keys.current().map(({ selector }) => selector)).toEqual(['202602e', '202602r']);
      await createStagedKeys(dir, '202603', now);
      await chmod(path.join(dir, '202602r.pem'), 0o644);
      await keys.refresh();
      expect(faults).toMatchObject([{ code: 'dkim-too-open' }]);
      expect(keys.current().map(({ selector }) => selector)).toEqual(['202602e', '202602r']);
    } finally {
      keys.stop();
    }
  });

  it('stages survive being written and read', async () => {
    await writeStages(dir, [key('202601e', 'signing', 5), key('202601r', 'retiring', 7)]);
    expect((await readStagedKeys(dir)).map(({ stage, since }) => [stage, since])).toEqual([
      ['signing', 5],
      ['retiring', 7],
    ]);
    expect(await readFile(path.join(dir, 'stages.json'), 'utf8')).not.toContain('PRIVATE');
  });
});

describe('what the DNS shows of a key', () => {
  const resolver = (answers: Readonly<Record<string, Answer>>): Resolver => ({
    resolve: async (name) => (answers[name] ?? { kind: 'nxdomain' }) as never,
  });
  const records = (...texts: string[][]): Answer => ({ kind: 'records', records: texts, ttlMs: 1 });

  it('is right only where every domain shows this very key', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'epost-dkim-'));
    try {
      const [rsa, ed25519] = (await createDkimKeys(dir, 'x')) as [never, never];
      const at = (domain: string) => dkimRecord(rsa, domain);
      const [one, two] = [at('one.test'), at('two.test')];
      const shown = { [one.name]: records([...one.strings]), [two.name]: records([...two.strings]) };
      const domains = ['one.test', 'two.test'];
      expect(await seenInDns(rsa, domains, resolver(shown))).toEqual(right);
      const spaced = one.value.replace('p=', 'p= ').replace('; k=rsa', '');
      expect(await seenInDns(rsa, ['one.test'], resolver({ [one.name]: records([spaced]) }))).toEqual(right);
      expect(await seenInDns(rsa, domains, resolver({ [one.name]: shown[one.name] as Answer }))).toMatchObject({
        kind: 'absent',
      });
      const other = dkimRecord(ed25519, 'one.test').value;
      expect(await seenInDns(rsa, ['one.test'], resolver({ [one.name]: records([other]) }))).toMatchObject({
        kind: 'different',
      });
      expect(await seenInDns(rsa, ['one.test'], resolver({ [one.name]: records([one.value], [other]) }))).toMatchObject(
        {
          kind: 'different',
          found: '2 records',
        },
      );
      expect(
        await seenInDns(rsa, ['one.test'], resolver({ [one.name]: { kind: 'unknown', reason: 'time-out' } })),
      ).toMatchObject({ kind: 'unknown', found: 'time-out' });
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
