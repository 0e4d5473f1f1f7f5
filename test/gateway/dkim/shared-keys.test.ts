import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createStagedKeys, readSigningKeys, readStagedKeys, writeStages } from '../../../gateway/dkim/key-stages.ts';
import { createDkimKeys } from '../../../gateway/dkim/keys.ts';
import { copyOfKeys, merged, takeCopy } from '../../../gateway/dkim/shared-keys.ts';
import type { StagedKey } from '../../../gateway/dkim/stages.ts';

describe('the keys that two gateways share', () => {
  let one: string;
  let two: string;
  beforeEach(async () => {
    [one, two] = [await mkdtemp(join(tmpdir(), 'epost-dkim-')), await mkdtemp(join(tmpdir(), 'epost-dkim-'))];
    await createDkimKeys(one, '202601');
    await takeNothingBut(one, two);
  });
  afterEach(async () => {
    await Promise.all([one, two].map((dir) => rm(dir, { recursive: true })));
  });

  /** As an invitation does: the other has no key before. */
  async function takeNothingBut(from: string, to: string): Promise<void> {
    const { copyFile } = await import('node:fs/promises');
    for (const name of await readdir(from)) await copyFile(join(from, name), join(to, name));
  }

  const signing = async (dir: string) => (await readSigningKeys(dir)).map(({ selector }) => selector);
  const stages = async (dir: string) =>
    (await readStagedKeys(dir)).map(({ selector, stage }) => `${selector} ${stage}`);

  it('a new pair does not sign there before it signs here, and then does; the old one does not any more', async () => {
    await createStagedKeys(one, '202602', 10);
    expect(await takeCopy(two, await copyOfKeys(one))).toEqual(['202602e', '202602r']);
    expect(await signing(two)).toEqual(['202601e', '202601r']);
    await writeStages(
      one,
      (await readStagedKeys(one)).map(({ selector }) => ({
        selector,
        stage: selector.startsWith('202602') ? 'signing' : 'retiring',
        since: 20,
      })),
    );
    expect(await takeCopy(two, await copyOfKeys(one))).toHaveLength(4);
    expect(await signing(two)).toEqual(['202602e', '202602r']);
    expect(await stages(two)).toEqual(await stages(one));
    // Twice, and back again.
    expect(await takeCopy(two, await copyOfKeys(one))).toEqual([]);
    expect(await takeCopy(one, await copyOfKeys(two))).toEqual([]);
  });

  it('an older copy takes nothing back', async () => {
    const old = await copyOfKeys(one);
    await createStagedKeys(one, '202602', 10);
    await writeStages(
      one,
      (await readStagedKeys(one)).map(({ selector }) => ({ selector, stage: 'signing', since: 20 })),
    );
    expect(await takeCopy(one, old)).toEqual([]);
    expect(await signing(one)).toHaveLength(4);
  });

  it('two that each made a pair of one name are not mixed, and nothing is changed', async () => {
    await createStagedKeys(one, '202602', 10);
    await createStagedKeys(two, '202602', 11);
    const before = await stages(two);
    await expect(copyOfKeys(one).then((copy) => takeCopy(two, copy))).rejects.toThrow(/202602. is another one here/);
    expect(await stages(two)).toEqual(before);
  });

  it.each([
    ['no JSON', 'keys'],
    ['no list', '{"version":1}'],
    ['a key that is none', JSON.stringify({ version: 1, keys: [{ selector: 'a', stage: 'new', since: 1, pem: 'x' }] })],
  ])('what is no copy is refused: %s', async (_, text) => {
    await expect(takeCopy(two, Buffer.from(text))).rejects.toMatchObject({ code: 'dkim-damaged' });
    expect(await signing(two)).toEqual(['202601e', '202601r']);
  });

  it('a selector that would leave the folder is refused', async () => {
    const { keys } = JSON.parse(Buffer.from(await copyOfKeys(one)).toString()) as { keys: object[] };
    const evil = { version: 1, keys: keys.map((key) => ({ ...key, selector: '../evil' })) };
    await expect(takeCopy(two, Buffer.from(JSON.stringify(evil)))).rejects.toMatchObject({ code: 'dkim-damaged' });
    expect((await readdir(two)).sort()).toEqual(['202601e.pem', '202601r.pem']);
  });

  it('which copy comes first does not matter, nor does how often', () => {
    const staged = fc.record<StagedKey>({
      selector: fc.constantFrom('a', 'b', 'c'),
      stage: fc.constantFrom('new', 'published', 'signing', 'retiring'),
      since: fc.nat(3),
    });
    const list = fc.uniqueArray(staged, { selector: ({ selector }) => selector });
    fc.assert(
      fc.property(list, list, list, (a, b, c) => {
        expect(merged(a, b)).toEqual(merged(b, a));
        expect(merged(merged(a, b), c)).toEqual(merged(a, merged(b, c)));
        expect(merged(merged(a, b), b)).toEqual(merged(a, b));
      }),
    );
  });
});
