import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LogDisk } from '../../../node/log/log-disk.ts';
import { IndexCache } from '../../../node/mail/index-cache.ts';
import { SentBook } from '../../../node/mail/sent-book.ts';
import { openSeenIds } from '../../../node/notify/seen.ts';
import { openTables } from '../../../node/notify/table.ts';
import { openDisk } from '../../../node/store/disk.ts';
import { assertSound } from '../../../node/store/environment.ts';
import { blockOf, lease } from './store-ring.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'epost-environment-'));
});
afterEach(() => rm(dir, { recursive: true }));

const damages: readonly [string, (file: string) => Promise<void>][] = [
  ['whose beginning is zeros', async (file) => writeFile(file, (await readFile(file)).fill(0, 0, 8192))],
  ['that is something else', (file) => writeFile(file, 'a text')],
  ['that was cut in the middle', async (file) => truncate(file, (await readFile(file)).length / 2)],
];

/** A store with something in it, closed. */
async function filled(): Promise<string> {
  const disk = await openDisk(dir);
  await disk.blocks.put(
    Array.from({ length: 50 }, (_, index) => ({
      ...blockOf(Buffer.alloc(5_000, index)),
      leases: [{ ...lease, payer: lease.identity }],
    })),
    { now: 0, payer: lease.identity, allowance: () => Number.POSITIVE_INFINITY },
  );
  await disk.close();
  return path.join(dir, 'store.lmdb');
}

describe('a file that would end the process', () => {
  it.each(damages)('%s is a fault that names it, and stays as it is', async (_why, damage) => {
    const file = await filled();
    await damage(file);
    const before = await readFile(file);
    await expect(openDisk(dir)).rejects.toMatchObject({ code: 'damaged', message: expect.stringContaining(file) });
    expect(Buffer.compare(await readFile(file), before)).toBe(0);
  });

  it.each(damages)('%s is noticed wherever this node keeps one', async (_why, damage) => {
    const file = await filled();
    await damage(file);
    const bytes = await readFile(file);
    const put = async (name: string): Promise<void> => writeFile(path.join(dir, name), bytes);
    await put('logs.lmdb');
    await expect(LogDisk.open(dir)).rejects.toMatchObject({ code: 'damaged' });
    await put('data.mdb');
    expect(() => openTables(dir)).toThrow(/is damaged/);
    expect(() => openSeenIds({ dir, now: Date.now })).toThrow(/is damaged/);
    // What only remembers for comfort is set aside, and a cache is simply begun anew.
    const book = await SentBook.open(dir, 0);
    expect(book.outstanding()).toEqual([]);
    await book.close();
    expect(Buffer.compare(await readFile(path.join(dir, 'data.mdb.damaged')), bytes)).toBe(0);
    await put('data.mdb');
    await (await IndexCache.open(dir)).close();
  });
});

describe('a sound file is never taken for a damaged one', () => {
  it('not there, empty, filled, emptied again, and at every moment between', async () => {
    assertSound(path.join(dir, 'store.lmdb'));
    await writeFile(path.join(dir, 'store.lmdb'), '');
    const file = await filled();
    assertSound(file);
    const tables = openTables(path.join(dir, 'tables'));
    const data = path.join(dir, 'tables', 'data.mdb');
    for (let round = 0; round < 40; round++) {
      const keys = Array.from({ length: 60 }, (_, index) => Buffer.from(`${round % 3} ${index}`));
      // Put and removed in one transaction: pages that are never written.
      await tables.pending.transaction(() => {
        for (const key of keys) tables.pending.putSync(key, Buffer.alloc(round * 200, round));
        if (round % 2 === 1) for (const key of keys) tables.pending.removeSync(key);
      });
      assertSound(data);
    }
    await tables.close();
    assertSound(data);
  });
});
