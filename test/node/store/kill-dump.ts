import path from 'node:path';
import type { Disk } from '../../../node/store/disk.ts';

/** When a process dies, seen from one commit. */
export const killMoments = ['before', 'within', 'while it is written', 'after'] as const;

export const openOptions = { encoding: 'binary', overlappingSync: false, maxDbs: 16 } as const;

export function storeFile(dir: string): string {
  return path.join(dir, 'store.lmdb');
}

/** All that a disk keeps, in one line. */
export function dump({ blocks, heads }: Disk): string {
  const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex').slice(0, 8);
  return JSON.stringify({
    blocks: blocks.page(undefined, 100).map((key) => ({
      key: hex(key),
      leases: blocks.leases.of(key),
      orphan: blocks.leases.orphanSince(key) ?? null,
      trashed: blocks.trashedAt(key) ?? null,
    })),
    accounts: blocks.leases.accounts(10),
    heads: heads.page(undefined, 10).map(hex),
  });
}
