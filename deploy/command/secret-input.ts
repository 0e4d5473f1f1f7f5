import { readFileSync } from 'node:fs';
import { InputFault } from '../config/problem.ts';

// Longer than any password or invitation that `epost` prints.
const maxBytes = 4 * 1_048_576;

/** All of standard input as text, bounded. */
export async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    const bytes = chunk as Buffer;
    size += bytes.length;
    if (size > maxBytes)
      throw new InputFault([
        {
          file: 'standard input',
          path: '',
          found: `more than ${maxBytes} bytes`,
          expected: 'less',
          suggestion: 'check what is piped in',
        },
      ]);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The first line of standard input: where secrets come from, since arguments can be seen by other users. */
export async function readSecretLine(what: string): Promise<string> {
  if (process.stdin.isTTY) process.stderr.write(`${what} (then Enter and Ctrl-D): `);
  const line = (await readStandardInput()).split(/\r?\n/, 1)[0] ?? '';
  if (line === '')
    throw new InputFault([
      { file: 'standard input', path: '', found: 'an empty line', expected: `the ${what}`, suggestion: 'pipe it in' },
    ]);
  return line;
}

/** What a file holds that a word of the command line names, or standard input for `-`. `begins`: how the secret itself would look in its place. */
export async function readSecretFile(
  where: string,
  { word, what, begins }: { readonly word: string; readonly what: string; readonly begins: string },
): Promise<string> {
  if (where === '-') return readStandardInput();
  try {
    return readFileSync(where, 'utf8');
  } catch (cause) {
    const found = where.startsWith(begins)
      ? `${what} itself`
      : `no readable file (${(cause as NodeJS.ErrnoException).code ?? 'error'})`;
    throw new InputFault([
      {
        file: 'command line',
        path: word,
        found,
        expected: `the name of the file that holds ${what}, or -`,
        suggestion: 'save it to a file, or pipe it in: other users of this machine can read arguments',
      },
    ]);
  }
}
