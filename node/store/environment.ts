import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { StoreFault } from './fault.ts';

// lmdb's file (LMDB data format 2, little endian): two meta pages, each a page head of 24 bytes and then this, of which the newer one counts.
const metaBytes = 160;
const at = { magic: 24, pageSize: 48, freeRoot: 88, mainRoot: 136, transaction: 152 } as const;
const magic = 0xbeefc0de;
const noPage = 0xffff_ffff_ffff_ffffn;

interface Meta {
  readonly pageSize: number;
  /** Page numbers of the trees' roots. */
  readonly roots: readonly bigint[];
  readonly transaction: bigint;
}

/**
 * To be asked before an lmdb file is opened: throws StoreFault `damaged` for one whose beginning is none, or that ends before the roots of its
 * trees, because lmdb maps the file into memory and ends the process with a signal there, without a word. (The length alone says nothing: lmdb
 * does not write pages that a transaction took and gave back.) A file that is not there, or empty, is a new one.
 */
export function assertSound(file: string): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0) return;
  const descriptor = openSync(file, 'r');
  try {
    const first = readMeta(descriptor, 0);
    if (first === undefined) throw damaged(file, 'it does not begin as it must');
    const second = readMeta(descriptor, first.pageSize);
    const { roots, pageSize } = second !== undefined && second.transaction > first.transaction ? second : first;
    if (roots.some((root) => root !== noPage && (Number(root) + 1) * pageSize > size))
      throw damaged(file, 'its end is missing');
  } finally {
    closeSync(descriptor);
  }
}

function readMeta(descriptor: number, position: number): Meta | undefined {
  const bytes = Buffer.alloc(metaBytes);
  const read = readSync(descriptor, bytes, 0, metaBytes, position);
  const pageSize = bytes.readUInt32LE(at.pageSize);
  if (read < metaBytes || bytes.readUInt32LE(at.magic) !== magic || pageSize < 256 || pageSize > 65_536)
    return undefined;
  return {
    pageSize,
    roots: [bytes.readBigUInt64LE(at.freeRoot), bytes.readBigUInt64LE(at.mainRoot)],
    transaction: bytes.readBigUInt64LE(at.transaction),
  };
}

function damaged(file: string, how: string): StoreFault {
  return new StoreFault(
    'damaged',
    `${file} is damaged (${how}): put it back from a backup, or move it away and start again; what other nodes of the ring have of it comes back by itself`,
  );
}
