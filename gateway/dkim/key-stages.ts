/** Which stage each DKIM key of a folder has: `stages.json` beside the keys. A key that is not named there signs, as in homes older than the stages. */
import { readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { DkimFault } from './fault.ts';
import { createDkimKeys, type DkimKey, readDkimKeys, syncFolder, writeOwnFile } from './keys.ts';
import type { StagedKey } from './stages.ts';

const fileName = 'stages.json';
export const stagedKeyShape = z.strictObject({
  selector: z.string().min(1).max(63),
  stage: z.enum(['new', 'published', 'signing', 'retiring']),
  since: z.int().min(0),
});
const fileShape = z.strictObject({
  version: z.literal(1),
  keys: z
    .array(stagedKeyShape)
    // Two pairs are under way at the most; the rest is room for keys that somebody put there by hand.
    .max(64),
});

export interface KeyWithStage extends StagedKey {
  readonly key: DkimKey;
}

/** All keys of the folder with their stages. Throws DkimFault where a key or the file of stages cannot be used. */
export async function readStagedKeys(dir: string): Promise<KeyWithStage[]> {
  const keys = await readDkimKeys(dir);
  const staged = new Map((await readStages(dir)).map((one) => [one.selector, one]));
  return keys.map((key) => ({
    ...(staged.get(key.selector) ?? { selector: key.selector, stage: 'signing', since: 0 }),
    key,
  }));
}

/** The keys that sign now. Never empty: a gateway without one is a fault. */
export async function readSigningKeys(dir: string): Promise<DkimKey[]> {
  const signing = (await readStagedKeys(dir)).filter(({ stage }) => stage === 'signing').map(({ key }) => key);
  if (signing.length > 0) return signing;
  throw new DkimFault('dkim-missing', `no DKIM key in ${dir} is at the stage "signing"; see epost dkim status`);
}

/** Makes a new pair that does not sign yet. Its stage is on disk before its keys are: a crash between leaves no key that signs unpublished. */
export async function createStagedKeys(dir: string, label: string, now: number): Promise<DkimKey[]> {
  const coming = [`${label}r`, `${label}e`].map((selector): StagedKey => ({ selector, stage: 'new', since: now }));
  const others = (await readStages(dir)).filter(({ selector }) => !coming.some((one) => one.selector === selector));
  await writeStages(dir, [...others, ...coming]);
  return createDkimKeys(dir, label);
}

/** Writes the stages, durable when this resolves. */
export async function writeStages(dir: string, keys: readonly StagedKey[]): Promise<void> {
  const file = { version: 1, keys: keys.map(({ selector, stage, since }) => ({ selector, stage, since })) };
  await writeOwnFile(join(dir, fileName), `${JSON.stringify(file, null, 2)}\n`);
  await syncFolder(dir);
}

/** Removes keys for good: first the key, then what is known of it, so that a crash between leaves no key without a stage. */
export async function removeKeys(dir: string, selectors: readonly string[], left: readonly StagedKey[]): Promise<void> {
  for (const selector of selectors) await unlink(join(dir, `${selector}.pem`));
  await writeStages(dir, left);
}

async function readStages(dir: string): Promise<StagedKey[]> {
  const path = join(dir, fileName);
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw new DkimFault('dkim-damaged', `${path} cannot be read: ${cause.message}`, cause);
  });
  if (text === undefined) return [];
  const parsed = fileShape.safeParse(parsedJson(text));
  if (parsed.success) return parsed.data.keys;
  throw new DkimFault(
    'dkim-damaged',
    `${path} is not a list of stages; restore it from a backup, or remove it: then all keys in the folder sign`,
    parsed.error,
  );
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
