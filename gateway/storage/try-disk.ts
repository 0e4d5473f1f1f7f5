import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';

// Some pages: the last free block is no room for mail.
const bytes = Buffer.alloc(64 * 1024, 1);

/** Writes a small file into the folder, syncs it and removes it; rejects where one of them fails. */
export async function tryDisk(folder: string): Promise<void> {
  const name = join(folder, 'storage-gate.tmp');
  try {
    const file = await open(name, 'w', 0o600);
    try {
      await file.write(bytes, 0, bytes.length, 0);
      await file.datasync();
    } finally {
      await file.close();
    }
  } finally {
    await rm(name, { force: true });
  }
}
