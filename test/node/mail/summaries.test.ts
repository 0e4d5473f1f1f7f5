import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { maxSummaryBytes, Summaries } from '../../../node/mail/summaries.ts';
import { silent } from './mailbox-fixture.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'epost-summaries-'));
});
afterEach(async () => await rm(dir, { recursive: true }));

const key = Buffer.alloc(32, 1);

async function reopened(summaries: Summaries, withKey = key): Promise<Summaries> {
  await summaries.close();
  return await Summaries.open(path.join(dir, 'summaries'), withKey, silent);
}

describe('what is remembered of messages', () => {
  it('is there after a restart, for who has the key', async () => {
    let summaries = await Summaries.open(path.join(dir, 'summaries'), key, silent);
    summaries.put('M1', Buffer.from('Subject: secret'));
    // At once, though the disk does not have it yet.
    expect(String(summaries.get('M1'))).toBe('Subject: secret');
    summaries = await reopened(summaries);
    expect(String(summaries.get('M1'))).toBe('Subject: secret');
    expect(summaries.get('M2')).toBeUndefined();
    summaries = await reopened(summaries, Buffer.alloc(32, 2));
    expect(summaries.get('M1')).toBeUndefined();
    await summaries.close();
  });

  it('is there of many put in one moment, the last word of each', async () => {
    let summaries = await Summaries.open(path.join(dir, 'summaries'), key, silent);
    const names = Array.from({ length: 1_000 }, (_, n) => `M${n}`);
    for (const text of ['first', 'last']) for (const name of names) summaries.put(name, Buffer.from(`${text} ${name}`));
    expect(names.every((name) => String(summaries.get(name)) === `last ${name}`)).toBe(true);
    summaries = await reopened(summaries);
    expect(names.every((name) => String(summaries.get(name)) === `last ${name}`)).toBe(true);
    await summaries.close();
  });

  it('gets to the disk by itself, also for a process that is killed', async () => {
    const summaries = await Summaries.open(path.join(dir, 'summaries'), key, silent);
    summaries.put('M1', Buffer.from('x'));
    const other = async (): Promise<string> => {
      const copy = await mkdtemp(path.join(dir, 'copy-'));
      await copyFile(path.join(dir, 'summaries', 'data.mdb'), path.join(copy, 'data.mdb'));
      const opened = await Summaries.open(copy, key, silent);
      const found = String(opened.get('M1'));
      await opened.close();
      return found;
    };
    await expect.poll(other, { timeout: 20_000 }).toBe('x');
    await summaries.close();
  });

  it('is not kept when it is too large', async () => {
    let summaries = await Summaries.open(path.join(dir, 'summaries'), key, silent);
    summaries.put('M1', Buffer.alloc(maxSummaryBytes + 1));
    summaries.put('M2', Buffer.alloc(maxSummaryBytes));
    summaries = await reopened(summaries);
    expect(summaries.get('M1')).toBeUndefined();
    expect(summaries.get('M2')?.length).toBe(maxSummaryBytes);
    await summaries.close();
  });

  it('a damaged file is begun anew', async () => {
    const summaries = await Summaries.open(path.join(dir, 'summaries'), key, silent);
    summaries.put('M1', Buffer.from('x'));
    await summaries.close();
    await writeFile(path.join(dir, 'summaries', 'data.mdb'), Buffer.alloc(8192, 7));
    const again = await Summaries.open(path.join(dir, 'summaries'), key, silent);
    expect(again.get('M1')).toBeUndefined();
    await again.close();
  });
});
