/**
 * The DKIM keys as one gateway of a ring hands them to another, so that both sign with the same ones. What both have keeps the stage it came to last:
 * so it does not matter which of them took a step of a rotation, nor in which order their copies arrive.
 */
import { createPrivateKey } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { DkimFault } from './fault.ts';
import { type KeyWithStage, readStagedKeys, stagedKeyShape, writeStages } from './key-stages.ts';
import { keyOf, syncFolder, writeOwnFile } from './keys.ts';
import type { StagedKey } from './stages.ts';

const copyShape = z.strictObject({
  version: z.literal(1),
  // Two pairs under way are usual; a PEM of RSA-4096 has 3.3 KB.
  keys: z.array(z.strictObject({ ...stagedKeyShape.shape, pem: z.string().max(16_384) })).max(64),
});

export async function copyOfKeys(dir: string): Promise<Uint8Array> {
  const keys = (await readStagedKeys(dir)).map(({ selector, stage, since, key }) => ({
    selector,
    stage,
    since,
    pem: pemOf(key),
  }));
  return Buffer.from(JSON.stringify({ version: 1, keys }));
}

/**
 * Takes a copy over; the selectors whose stage changed or that are new. Throws DkimFault, having changed nothing, where it is none, or where a selector
 * is another key here. A crash on the way leaves what signed before signing.
 */
export async function takeCopy(dir: string, copy: Uint8Array): Promise<string[]> {
  const mine = await readStagedKeys(dir);
  const theirs = readCopy(copy);
  const added = theirs.filter(({ selector, pem }) => {
    const own = mine.find((one) => one.selector === selector);
    if (own !== undefined && pemOf(own.key) !== pem)
      throw new DkimFault(
        'dkim-damaged',
        `the DKIM key ${selector} is another one here; remove one of the two by hand`,
      );
    return own === undefined;
  });
  const after = merged(mine, theirs);
  const coming = added.map(({ selector, since }): StagedKey => ({ selector, stage: 'new', since }));
  // First as keys that do not sign; a key without a stage would sign at once.
  if (added.length > 0) await writeStages(dir, [...mine, ...coming]);
  for (const { selector, pem } of added) await writeOwnFile(join(dir, `${selector}.pem`), pem);
  await syncFolder(dir);
  await writeStages(dir, after);
  return after
    .filter(({ selector, stage }) => mine.find((one) => one.selector === selector)?.stage !== stage)
    .map(({ selector }) => selector);
}

/** For each key the stage it came to last. Pure; the order of the two does not matter. */
export function merged(mine: readonly StagedKey[], theirs: readonly StagedKey[]): StagedKey[] {
  const last = new Map<string, StagedKey>();
  for (const { selector, stage, since } of [...mine, ...theirs]) {
    const before = last.get(selector);
    if (before === undefined || isLater({ selector, stage, since }, before))
      last.set(selector, { selector, stage, since });
  }
  return [...last.values()].sort((a, b) => (a.selector < b.selector ? -1 : 1));
}

const order = ['new', 'published', 'signing', 'retiring'] as const;

/** At the same time, the stage that comes later in the life of a key. */
function isLater(one: StagedKey, other: StagedKey): boolean {
  if (one.since !== other.since) return one.since > other.since;
  return order.indexOf(one.stage) > order.indexOf(other.stage);
}

function pemOf({ privateKey }: KeyWithStage['key']): string {
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function readCopy(copy: Uint8Array): (StagedKey & { readonly pem: string })[] {
  try {
    const { keys } = copyShape.parse(JSON.parse(Buffer.from(copy).toString()));
    // What is no key of ours to sign with must not reach the disk.
    return keys.map((one) => ({ ...one, pem: pemOf(keyOf(one.selector, createPrivateKey(one.pem))) }));
  } catch (cause) {
    throw new DkimFault('dkim-damaged', 'this is no copy of DKIM keys as `epost dkim export` makes it', cause);
  }
}
