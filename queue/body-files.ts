/**
 * Bodies too large for the database, one file each. A file is complete and durable before its name is in the database, and deleted only after its
 * name has left it; what a kill leaves in between is an orphan, swept at the next start.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';

const suffix = '.body';
// A tenth of a millisecond of checksum and more; then others have the event loop.
const sliceBytes = 1024 * 1024;

/** The checksum by which a body is known to be what was written. */
export async function crcOf(body: Uint8Array): Promise<number> {
  let crc = 0;
  for (let at = 0; at < body.byteLength; at += sliceBytes) {
    if (at > 0) await turn();
    crc = crc32(body.subarray(at, at + sliceBytes), crc);
  }
  return crc;
}

async function syncFolder(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export class BodyFiles {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async prepare(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
  }

  /** The new file's name; its bytes and its name survive a power cut when this resolves. */
  async write(bytes: Uint8Array): Promise<string> {
    const name = `${randomUUID()}${suffix}`;
    const path = join(this.#dir, name);
    try {
      const handle = await open(`${path}.tmp`, 'wx', 0o600);
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(`${path}.tmp`, path);
    } catch (error) {
      // On a full disk each attempt would otherwise leave a piece that keeps it full.
      await rm(`${path}.tmp`, { force: true });
      throw error;
    }
    await syncFolder(this.#dir);
    return name;
  }

  async read(name: string): Promise<Uint8Array> {
    const { buffer, byteOffset, byteLength } = await readFile(join(this.#dir, name));
    return new Uint8Array(buffer, byteOffset, byteLength);
  }

  /** Deletes; a file that is gone already is fine. */
  async remove(names: readonly string[]): Promise<void> {
    for (const name of names) await rm(join(this.#dir, name), { force: true });
  }

  /** Deletes every file no job refers to; call it only while nobody writes. Returns how many. */
  async sweep(isUsed: (name: string) => boolean): Promise<number> {
    const orphans = (await readdir(this.#dir)).filter((name) => !isUsed(name));
    await this.remove(orphans);
    return orphans.length;
  }
}
