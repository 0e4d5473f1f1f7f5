import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { BlockDisk } from './block-disk.ts';
import { EntryDisk } from './entry-disk.ts';
import { assertSound } from './environment.ts';
import { HeadDisk } from './head-disk.ts';
import { RoundDisk } from './round-disk.ts';

/** All that a node keeps for the ring, in one lmdb environment: one sync makes what came in at the same moment durable together. */
export interface Disk {
  readonly blocks: BlockDisk;
  readonly heads: HeadDisk;
  readonly entries: EntryDisk;
  readonly rounds: RoundDisk;
  /** Whether this node has once been given all that it should hold (settling.ts). */
  settled(): boolean;
  keepSettled(): Promise<void>;
  close(): Promise<void>;
}

/** Opens or makes the store's environment under `dir`. For its owner alone: names of addresses lie in it in the clear. */
export async function openDisk(dir: string): Promise<Disk> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const file = path.join(dir, 'store.lmdb');
  assertSound(file);
  // overlappingSync would resolve a write before it is synced; a block is acknowledged only when it is durable (DESIGN §6).
  const root: RootDatabase<Buffer, string> = open({
    path: file,
    encoding: 'binary',
    overlappingSync: false,
    maxDbs: 16,
  });
  return diskOn(root);
}

/** The store's disk in an open environment. */
export function diskOn(root: RootDatabase<Buffer, string>): Disk {
  const facts = root.openDB<Buffer, string>('facts', { encoding: 'binary' });
  return {
    settled: () => facts.doesExist('settled'),
    keepSettled: async () => {
      await facts.put('settled', Buffer.from([1]));
    },
    blocks: new BlockDisk(root),
    heads: new HeadDisk(root),
    entries: new EntryDisk(root),
    rounds: new RoundDisk(root),
    close: () => root.close(),
  };
}
