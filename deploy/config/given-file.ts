import { readFileSync } from 'node:fs';
import { InputFault } from './problem.ts';

/** The bytes of a file that a person named; an InputFault where it cannot be read or is larger than any such file is. */
export function readGivenFile(file: string, what: string, maxBytes: number): Buffer {
  const fault = (found: string): InputFault =>
    new InputFault([
      {
        file,
        path: '',
        found,
        expected: `${what} of at most ${maxBytes} bytes`,
        suggestion: 'name a file that is there, readable by this user, and not larger',
      },
    ]);
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw fault(`no readable file (${(cause as NodeJS.ErrnoException).code ?? 'error'})`);
  }
  if (bytes.length > maxBytes) throw fault(`${bytes.length} bytes`);
  return bytes;
}
