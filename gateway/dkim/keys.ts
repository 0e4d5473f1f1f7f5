/**
 * DKIM keys on disk: `<selector>.pem` in one folder, PKCS #8, readable by their owner alone. Two are made together, since some verifiers know
 * Ed25519 (RFC 8463) and all know RSA (RFC 8301).
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DkimFault } from './fault.ts';

export interface DkimKey {
  readonly selector: string;
  readonly algorithm: 'rsa-sha256' | 'ed25519-sha256';
  readonly privateKey: KeyObject;
}

// RFC 6376 §3.1 sub-domain; RFC 1035 labels.
const selectorShape = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** RFC 8301 §3.2 wants at least 2048 bits from signers; longer keys do not fit into one DNS reply everywhere. */
const rsaBits = 2048;

/**
 * Makes `<label>r` (RSA-2048) and `<label>e` (Ed25519) in `dir`, durable when this resolves. The label is the month by custom (`202611`), so that a
 * selector tells how old its key is. Never overwrites.
 */
export async function createDkimKeys(dir: string, label: string): Promise<DkimKey[]> {
  const rsa = generateKeyPairSync('rsa', { modulusLength: rsaBits }).privateKey;
  const ed25519 = generateKeyPairSync('ed25519').privateKey;
  const keys: DkimKey[] = [keyOf(`${label}r`, rsa), keyOf(`${label}e`, ed25519)];
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const key of keys) await writeKey(dir, key);
  await syncFolder(dir);
  return keys;
}

/** Makes the names in a folder durable. */
export async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Throws DkimFault where it cannot be one. */
export function keyOf(selector: string, privateKey: KeyObject): DkimKey {
  if (!selectorShape.test(selector)) throw new DkimFault('dkim-damaged', `${selector} cannot be a DKIM selector`);
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = privateKey;
  if (type === 'ed25519') return { selector, algorithm: 'ed25519-sha256', privateKey };
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= rsaBits)
    return { selector, algorithm: 'rsa-sha256', privateKey };
  throw new DkimFault('dkim-damaged', `the DKIM key ${selector} is neither Ed25519 nor RSA of ${rsaBits} bits or more`);
}

async function writeKey(dir: string, key: DkimKey): Promise<void> {
  const path = join(dir, `${key.selector}.pem`);
  const exists = await stat(path).catch(() => undefined);
  if (exists !== undefined) throw new DkimFault('dkim-damaged', `${path} exists; a DKIM key is never overwritten`);
  await writeOwnFile(path, key.privateKey.export({ type: 'pkcs8', format: 'pem' }));
}

/** Writes a file that only its owner may read, whole or not at all; its name is durable after {@link syncFolder}. */
export async function writeOwnFile(path: string, content: string | Buffer): Promise<void> {
  const file = await open(`${path}.tmp`, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.tmp`, path);
}

/** All keys in `dir`, by selector. Throws DkimFault when there is none, or one that cannot be used or that others may read. */
export async function readDkimKeys(dir: string): Promise<DkimKey[]> {
  const names = await readdir(dir).catch((cause: unknown) => {
    throw new DkimFault('dkim-missing', `there is no folder of DKIM keys at ${dir}`, cause);
  });
  const selectors = names.filter((name) => name.endsWith('.pem')).map((name) => name.slice(0, -4));
  if (selectors.length === 0) throw new DkimFault('dkim-missing', `there are no DKIM keys (*.pem) in ${dir}`);
  const keys: DkimKey[] = [];
  for (const selector of selectors.sort()) keys.push(await readKey(dir, selector));
  return keys;
}

async function readKey(dir: string, selector: string): Promise<DkimKey> {
  const path = join(dir, `${selector}.pem`);
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0) {
    throw new DkimFault('dkim-too-open', `others may read the DKIM key ${path}; run: chmod 600 ${path}`);
  }
  try {
    return keyOf(selector, createPrivateKey(await readFile(path)));
  } catch (cause) {
    if (cause instanceof DkimFault) throw cause;
    throw new DkimFault(
      'dkim-damaged',
      `${path} is not a private key; restore it from a backup or make new keys`,
      cause,
    );
  }
}
