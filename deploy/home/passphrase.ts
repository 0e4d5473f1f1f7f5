import { readFileSync } from 'node:fs';
import { InputFault } from '../config/problem.ts';

// Longer than any pass phrase, short enough for a mistaken file name to be noticed.
const maxBytes = 1_024;

/**
 * The pass phrase of the key files: the first line of a file, never an argument, which other users could see. Undefined
 * where no file is named: the key files are then kept readable by their owner alone.
 */
export function readPassphrase(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  const fault = (found: string): InputFault =>
    new InputFault([
      {
        file,
        path: '',
        found,
        expected: `a pass phrase of 1 to ${maxBytes} bytes on the first line`,
        suggestion: 'name the right file with --passphrase-file or EPOST_PASSPHRASE_FILE',
      },
    ]);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw fault(`no readable file (${(cause as NodeJS.ErrnoException).code ?? 'error'})`);
  }
  const line = text.split(/\r?\n/, 1)[0] ?? '';
  if (line === '') throw fault('an empty first line');
  if (Buffer.byteLength(line) > maxBytes) throw fault(`${Buffer.byteLength(line)} bytes`);
  return line;
}
