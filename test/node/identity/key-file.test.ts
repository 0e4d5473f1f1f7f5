import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeyFileFault, readKeyFile, writeKeyFile } from '../../../node/identity/key-file.ts';

const secret = Uint8Array.from({ length: 64 }, (_, at) => at);
const passphrase = 'correct horse';

describe('a key file', () => {
  let dir: string;
  let file: string;
  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'epost-key-'));
    file = path.join(dir, 'key');
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  async function faultOf(work: Promise<unknown>): Promise<KeyFileFault> {
    const error = await work.then(
      () => new Error('it was read'),
      (found: unknown) => found,
    );
    if (!(error instanceof KeyFileFault)) throw new Error(`no KeyFileFault: ${String(error)}`);
    return error;
  }

  it.each([
    ['with a pass phrase', { kind: 'identity', passphrase }],
    ['without', { kind: 'identity' }],
  ])('%s gives back the secret, for its owner alone, and leaves no other file', async (_why, options) => {
    await writeKeyFile(file, secret, options);
    expect(await readKeyFile(file, options)).toEqual(secret);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(dir)).toEqual(['key']);
  });

  it('under a pass phrase holds nothing of the secret', async () => {
    await writeKeyFile(file, secret, { kind: 'identity', passphrase });
    const content = await readFile(file, 'utf8');
    expect(content).not.toContain(Buffer.from(secret).toString('base64').slice(0, 12));
  });

  it('is replaced as a whole', async () => {
    await writeKeyFile(file, secret, { kind: 'identity' });
    await writeKeyFile(
      file,
      secret.map((byte) => byte ^ 1),
      { kind: 'identity' },
    );
    expect((await readKeyFile(file, { kind: 'identity' }))[0]).toBe(1);
  });

  it('a pass phrase typed with combining characters is the same pass phrase', async () => {
    await writeKeyFile(file, secret, { kind: 'identity', passphrase: 'schön' });
    expect(await readKeyFile(file, { kind: 'identity', passphrase: 'scho\u0308n' })).toEqual(secret);
  });

  type Harm = (file: string) => Promise<unknown>;
  const harms: [string, string, Harm, { kind: string; passphrase?: string }][] = [
    ['missing', 'a file that is not there', (at) => rm(at), { kind: 'identity', passphrase }],
    ['wrong-passphrase', 'another pass phrase', async () => undefined, { kind: 'identity', passphrase: 'wrong' }],
    ['passphrase-needed', 'no pass phrase', async () => undefined, { kind: 'identity' }],
    ['wrong-kind', 'a key of another kind', async () => undefined, { kind: 'node', passphrase }],
    ['too-open', 'a file that the group can read', (at) => chmod(at, 0o640), { kind: 'identity', passphrase }],
    [
      'damaged',
      'half a file',
      async (at) => writeFile(at, (await readFile(at, 'utf8')).slice(0, 60)),
      { kind: 'identity', passphrase },
    ],
    ['damaged', 'an empty file', (at) => writeFile(at, ''), { kind: 'identity', passphrase }],
    [
      'damaged',
      'one changed letter',
      async (at) => {
        const text = await readFile(at, 'utf8');
        await writeFile(
          at,
          text.replace(/"data": "(.)/, (_, first: string) => `"data": "${first === 'A' ? 'B' : 'A'}`),
        );
      },
      { kind: 'identity', passphrase },
    ],
    [
      'damaged',
      'a demand for a gigabyte of memory',
      async (at) => writeFile(at, (await readFile(at, 'utf8')).replace('"N": 32768', '"N": 4194304')),
      { kind: 'identity', passphrase },
    ],
    [
      'damaged',
      'a file that is too long',
      (at) => writeFile(at, 'x'.repeat(100_000)),
      { kind: 'identity', passphrase },
    ],
  ];
  it.each(harms)('says %s for %s, in one sentence that names the file', async (code, _why, harm, options) => {
    await writeKeyFile(file, secret, { kind: 'identity', passphrase });
    await harm(file);
    const fault = await faultOf(readKeyFile(file, options));
    expect(fault.code).toBe(code);
    expect(fault.message).toContain(file);
    expect(fault.message).not.toContain('\n');
  });
});
