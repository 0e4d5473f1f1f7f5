import { createCipheriv, createDecipheriv, createHash, randomBytes, scrypt } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';

export type KeyFileFaultCode =
  | 'missing'
  | 'damaged'
  | 'wrong-passphrase'
  | 'passphrase-needed'
  | 'too-open'
  | 'wrong-kind';

/** Why a key file cannot be used. The message is one sentence that says what to do. */
export class KeyFileFault extends Error {
  override readonly name = 'KeyFileFault';
  readonly code: KeyFileFaultCode;

  constructor(code: KeyFileFaultCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export interface KeyFileOptions {
  /** What the secret is for, such as `node` or `identity`; reading it as anything else fails. */
  readonly kind: string;
  readonly passphrase?: string;
}

// About 100 ms and 32 MiB on a desktop: noticed by someone who guesses, not by someone who starts a node.
const scryptCost = { N: 2 ** 15, r: 8, p: 1 };
// What a file may ask for: 2^20 would be 1 GiB.
const maxScryptN = 2 ** 18;
const maxSecretBytes = 4096;
const maxFileBytes = 16 * 1024;

const fileShape = z.strictObject({
  epost: z.literal('key'),
  version: z.literal(1),
  kind: z.string().max(64),
  scrypt: z
    .strictObject({
      N: z.int().min(2).max(maxScryptN),
      r: z.int().min(1).max(8),
      p: z.int().min(1).max(4),
      salt: z.base64(),
    })
    .optional(),
  data: z.base64(),
  /** SHA-256 over the rest: tells a damaged file from a wrong pass phrase. Not a secret's check. */
  check: z.hex(),
});
type KeyFile = z.infer<typeof fileShape>;

/**
 * Writes a secret so that its owner alone can read it, under the pass phrase when one is given. Replaces the file as
 * a whole; when the call returns, the new file survives a power cut, and before that the old one does.
 */
export async function writeKeyFile(file: string, secret: Uint8Array, options: KeyFileOptions): Promise<void> {
  if (secret.length > maxSecretBytes) throw new RangeError(`a key file holds at most ${maxSecretBytes} bytes`);
  const body = await encloseSecret(secret, options);
  const content: KeyFile = { ...body, check: checkOf(body) };
  await replaceFile(file, Buffer.from(`${JSON.stringify(content, null, 2)}\n`));
}

/** The secret in the file. Throws {@link KeyFileFault}. */
export async function readKeyFile(file: string, options: KeyFileOptions): Promise<Uint8Array> {
  const content = parse(file, await readOwnFile(file));
  if (content.kind !== options.kind) {
    throw new KeyFileFault(
      'wrong-kind',
      `${file} holds a ${content.kind} key, not a ${options.kind} key: name the right file.`,
    );
  }
  const data = Buffer.from(content.data, 'base64');
  if (content.scrypt === undefined) return Uint8Array.from(data);
  if (options.passphrase === undefined) {
    throw new KeyFileFault('passphrase-needed', `${file} is encrypted: give its pass phrase.`);
  }
  const key = await stretch(options.passphrase, Buffer.from(content.scrypt.salt, 'base64'), content.scrypt);
  const secret = decrypt(key, data, content.kind);
  if (secret === undefined) {
    throw new KeyFileFault('wrong-passphrase', `the pass phrase does not open ${file}: try again.`);
  }
  return secret;
}

async function encloseSecret(secret: Uint8Array, options: KeyFileOptions): Promise<Omit<KeyFile, 'check'>> {
  const head = { epost: 'key', version: 1, kind: options.kind } as const;
  if (options.passphrase === undefined) return { ...head, data: Buffer.from(secret).toString('base64') };
  const salt = randomBytes(16);
  const data = encrypt(await stretch(options.passphrase, salt, scryptCost), secret, options.kind);
  return { ...head, scrypt: { ...scryptCost, salt: salt.toString('base64') }, data: data.toString('base64') };
}

type ScryptCost = { readonly N: number; readonly r: number; readonly p: number };

async function stretch(passphrase: string, salt: Uint8Array, { N, r, p }: ScryptCost): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  // RFC 7914 §2: the memory needed is 128 N r; the limit must lie above it.
  const options = { N, r, p, maxmem: 256 * N * r };
  scrypt(passphrase.normalize('NFC'), salt, 32, options, (error, key) =>
    error === null ? resolve(key) : reject(error),
  );
  return promise;
}

function encrypt(key: Uint8Array, secret: Uint8Array, kind: string): Buffer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(kind));
  return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
}

function decrypt(key: Uint8Array, data: Buffer, kind: string): Uint8Array | undefined {
  if (data.length < 28) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, data.subarray(0, 12)).setAAD(Buffer.from(kind));
  decipher.setAuthTag(data.subarray(-16));
  try {
    return Uint8Array.from(Buffer.concat([decipher.update(data.subarray(12, -16)), decipher.final()]));
  } catch {
    return undefined;
  }
}

function checkOf(body: Omit<KeyFile, 'check'>): string {
  const { scrypt: cost } = body;
  const fields = [body.kind, cost?.N, cost?.r, cost?.p, cost?.salt, body.data];
  return createHash('sha256').update(JSON.stringify(fields)).digest('hex');
}

function parse(file: string, text: string): KeyFile {
  const damaged = (cause?: unknown): KeyFileFault =>
    new KeyFileFault('damaged', `${file} is damaged: put back the copy from your backup.`, cause);
  let content: KeyFile;
  try {
    content = fileShape.parse(JSON.parse(text));
  } catch (cause) {
    throw damaged(cause);
  }
  const { check, ...body } = content;
  if (check !== checkOf(body)) throw damaged();
  return content;
}

async function readOwnFile(file: string): Promise<string> {
  const handle = await open(file, 'r').catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new KeyFileFault(
      'missing',
      `${file} is not there: put back the copy from your backup or make a new key.`,
      cause,
    );
  });
  try {
    const { mode, size } = await handle.stat();
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new KeyFileFault('too-open', `${file} can be read by others than its owner: chmod 600 ${file}.`);
    }
    if (size > maxFileBytes)
      throw new KeyFileFault('damaged', `${file} is too long for a key file: put back the right one.`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/** Puts `bytes` in place of the file: new file synced, renamed over the old one, folder synced. Mode 0600. */
export async function replaceFile(file: string, bytes: Uint8Array): Promise<void> {
  const folder = path.dirname(file);
  const fresh = path.join(folder, `.${path.basename(file)}.${randomBytes(6).toString('hex')}`);
  try {
    await writeSynced(fresh, bytes);
    await rename(fresh, file);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeSynced(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
