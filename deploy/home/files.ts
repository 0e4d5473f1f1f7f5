import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';
import { HomeFault } from './fault.ts';

/** Makes the file `0600` with these bytes; after a power cut it is either as before or whole (tmp, sync, rename, sync). */
export function writeFileDurably(file: string, bytes: Uint8Array | string): void {
  const folder = path.dirname(file);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const temporary = path.join(folder, `.${path.basename(file)}.${process.pid}.new`);
  const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  const handle = openSync(temporary, 'w', 0o600);
  try {
    for (let offset = 0; offset < data.length; ) offset += writeSync(handle, data, offset);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(temporary, file);
  syncFolder(folder);
}

/** Makes the folder that a file is to lie in, closed to others. */
export function makeOwnFolder(file: string): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
}

/** Makes a rename or removal in this folder survive a power cut. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** The bytes of a file that a home must have; a HomeFault `damaged` that names it where it is missing or unreadable. */
export function readHomeFile(file: string, what: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'is missing' : `cannot be read (${String(cause)})`;
    throw new HomeFault('damaged', `the home is damaged: ${what} ${file} ${why}; restore it from a backup`, { cause });
  }
}

/** The JSON of a file that a home must have. */
export function readHomeJson(file: string, what: string): unknown {
  const text = Buffer.from(readHomeFile(file, what)).toString('utf8');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new HomeFault('damaged', `the home is damaged: ${what} ${file} is not JSON; restore it from a backup`, {
      cause,
    });
  }
}
