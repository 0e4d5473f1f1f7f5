import { appendFileSync, mkdirSync, renameSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

// Some 100,000 lines; one older file is kept.
const maxBytes = 10 * 1_048_576;

/** Writes down who looked at whose mail's traces: one JSON line in `access.log` beside them. Throws where it cannot be written: then nobody looks. */
export function noteAccess(
  folder: string,
  what: { readonly command: string; readonly of: string; readonly now: number },
): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = path.join(folder, 'access.log');
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > maxBytes) renameSync(file, `${file}.1`);
  const { command, of, now } = what;
  const line = { at: new Date(now).toISOString(), by: os.userInfo().username, command, of };
  appendFileSync(file, `${JSON.stringify(line)}\n`, { mode: 0o600 });
}
