import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { assertSound } from '../store/environment.ts';

export type Bytes = Database<Buffer, Buffer>;
export interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** The notify floor's own lmdb environment. Each promise of a write resolves when it is synced; those of one moment share a commit. */
export interface Tables {
  readonly pending: Bytes;
  readonly receipts: Bytes;
  readonly certificates: Bytes;
  readonly sent: Bytes;
  close(): Promise<void>;
}

function bytesIn(root: RootDatabase, name: string): Bytes {
  return root.openDB<Buffer, Buffer>({ name, encoding: 'binary', keyEncoding: 'binary' });
}

export function openEnvironment(dir: string): RootDatabase {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  assertSound(path.join(dir, 'data.mdb'));
  // With overlapping sync a put would resolve before it is on disk; a path with a dot in it would become a file.
  return open({ path: dir, overlappingSync: false, noSubdir: false, maxDbs: 8 });
}

export function openTables(dir: string): Tables {
  const root = openEnvironment(dir);
  return {
    pending: bytesIn(root, 'pending'),
    receipts: bytesIn(root, 'receipts'),
    certificates: bytesIn(root, 'certificates'),
    sent: bytesIn(root, 'sent'),
    close: async () => root.close(),
  };
}

/** The first key after all keys that begin with `prefix`. Undefined for a prefix of 0xff bytes only. */
export function afterPrefix(prefix: Uint8Array): Buffer | undefined {
  const end = Buffer.from(prefix);
  for (let at = end.length - 1; at >= 0; at--) {
    if (end[at] === 0xff) continue;
    end[at] = (end[at] ?? 0) + 1;
    return end.subarray(0, at + 1);
  }
  return undefined;
}

export function prefixRange(prefix: Uint8Array): { start: Buffer; end?: Buffer } {
  const end = afterPrefix(prefix);
  return { start: Buffer.from(prefix), ...(end === undefined ? {} : { end }) };
}
