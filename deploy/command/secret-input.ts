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
