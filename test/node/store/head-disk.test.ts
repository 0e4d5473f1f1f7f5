import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { generateIdentityKeys } from '../../../node/identity/keys.ts';
import { type Disk, openDisk } from '../../../node/store/disk.ts';
import { type Head, makeHead } from '../../../node/store/head.ts';

let dir: string;
let disk: Disk;
beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'epost-heads-'));
  disk = await openDisk(dir);
});
afterEach(async () => {
  await disk.close();
  await rm(dir, { recursive: true });
});

const { signing } = generateIdentityKeys();
const headOf = (version: number, body: string): Head =>
  makeHead({ logId: new Uint8Array(32), version, parents: [], at: 1, body: Buffer.from(body) }, signing);
const { key } = headOf(1, '');

const histories: readonly [string, readonly Head[]][] = [
  ['no head', []],
  ['one head', [headOf(1, 'a')]],
  ['a head that another of its version stands against', [headOf(2, 'a'), headOf(2, 'b')]],
  ['a head after such a fork', [headOf(2, 'a'), headOf(2, 'b'), headOf(3, 'c')]],
];
it.each(histories)('what is compared with other nodes is what is kept: %s', async (_why, heads) => {
  for (const head of heads) await disk.heads.put(head);
  const hex = (hashes: readonly Uint8Array[]) => hashes.map((hash) => Buffer.from(hash).toString('hex'));
  expect(hex(disk.heads.hashes(key))).toEqual(hex(disk.heads.get(key).map(({ hash }) => hash)));
});
