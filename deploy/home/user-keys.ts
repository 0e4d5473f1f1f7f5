import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import * as cbor from '@ipld/dag-cbor';
import { z } from 'zod';
import type { CertificateAuthority } from '../../node/identity/authority.ts';
import { equalBytes } from '../../node/identity/canonical.ts';
import { checkIdentityCertificate, type IdentityCertificate, type Trust } from '../../node/identity/certificate.ts';
import { readKeyFile, writeKeyFile } from '../../node/identity/key-file.ts';
import { generateIdentityKeys, type IdentityKeys, importIdentityKeys } from '../../node/identity/keys.ts';
import { memoryMs } from '../../node/notify/lifetime.ts';
import type { HeldKeys } from '../../node/notify/local-recipient.ts';
import { type Address, parseAddress } from '../../policy/address.ts';
import { HomeFault } from './fault.ts';
import { readHomeFile, syncFolder, writeFileDurably } from './files.ts';
import { type Layout, userFiles } from './layout.ts';

/** Keys of a user, and the certificate that binds them to his address. */
export interface UserKeys {
  readonly keys: IdentityKeys;
  readonly certificate: Uint8Array;
}

/** Keys that a user had before. The first he ever had stay for good: his mailbox was made with them. */
export interface EarlierKeys extends UserKeys {
  readonly replacedAt: number;
}

/** New keys on their way to the machines that serve the user's mailbox. */
export interface KeysInTransit extends UserKeys {
  readonly address: Address;
}

// Long enough that nobody is locked out by a holiday; the revocation list ends them earlier.
const certificateDays = 825;
// The first, and those that were replaced within the last fifteen days.
export const maxEarlier = 8;

/** New keys for a user or a list, certified. The caller keeps the authority's state before he lets them out. */
export function issueKeys(authority: CertificateAuthority, kind: 'user' | 'list', address: Address): UserKeys {
  const keys = generateIdentityKeys();
  return { keys, certificate: issueFor(authority, kind, address, keys).bytes };
}

/** A new certificate for keys that somebody has already. */
export function issueFor(
  authority: CertificateAuthority,
  kind: 'user' | 'list',
  address: Address,
  keys: IdentityKeys,
): IdentityCertificate {
  return authority.issueIdentity({
    kind,
    address,
    signingKey: keys.signing.public,
    sealingKey: keys.sealing.public,
    days: certificateDays,
  });
}

function secrecy(passphrase: string | undefined): { kind: 'identity'; passphrase?: string } {
  return { kind: 'identity', ...(passphrase === undefined ? {} : { passphrase }) };
}

/** The keys that a user of this home has now. */
export async function readUserKeys(
  layout: Layout,
  address: Address,
  passphrase: string | undefined,
): Promise<UserKeys> {
  const files = userFiles(layout, address);
  finishRenewal(files);
  return {
    keys: importIdentityKeys(await readKeyFile(files.key, secrecy(passphrase))),
    certificate: readHomeFile(files.certificate, 'the certificate'),
  };
}

/** The keys that a user of this home had before, the first ones first. */
export async function readEarlierKeys(
  layout: Layout,
  address: Address,
  passphrase: string | undefined,
): Promise<EarlierKeys[]> {
  const { earlier } = userFiles(layout, address);
  if (!existsSync(earlier)) return [];
  const times = readdirSync(earlier)
    .map((name) => /^(\d+)\.key$/.exec(name)?.[1])
    .filter((time) => time !== undefined)
    .map(Number)
    .sort((one, other) => one - other);
  return Promise.all(
    times.map(async (replacedAt) => ({
      keys: importIdentityKeys(await readKeyFile(path.join(earlier, `${replacedAt}.key`), secrecy(passphrase))),
      certificate: readHomeFile(path.join(earlier, `${replacedAt}.cert`), 'an earlier certificate'),
      replacedAt,
    })),
  );
}

/** Writes keys that a user had before into his folder, which may be one that is being made. */
export async function writeEarlierKeys(
  folder: string,
  { keys, certificate, replacedAt }: EarlierKeys,
  passphrase: string | undefined,
): Promise<void> {
  // The certificate first: what has a key file is whole.
  writeFileDurably(path.join(folder, `${replacedAt}.cert`), certificate);
  await writeKeyFile(path.join(folder, `${replacedAt}.key`), keys.export(), secrecy(passphrase));
}

/**
 * Gives a user of this home new keys. Those that he had are kept: the first ones for good, later ones as long as something sealed to them may wait.
 * After a power cut he has either the old ones or the new ones.
 */
export async function replaceUserKeys(
  layout: Layout,
  address: Address,
  fresh: UserKeys,
  { passphrase, now }: { readonly passphrase: string | undefined; readonly now: number },
): Promise<void> {
  const files = userFiles(layout, address);
  const old = await readUserKeys(layout, address, passphrase);
  if (equalBytes(old.certificate, fresh.certificate)) return;
  const before = await readEarlierKeys(layout, address, passphrase);
  const young = before.slice(1).filter((one) => now - one.replacedAt <= memoryMs);
  const kept = new Set([...before.slice(0, 1), ...young.slice(-(maxEarlier - 2))]);
  for (const one of before) if (!kept.has(one)) removeEarlierKeys(files.earlier, one.replacedAt);
  // Also where the clock was set back: their order is what tells the first.
  const replacedAt = Math.max(now, 1 + (before.at(-1)?.replacedAt ?? 0));
  await writeEarlierKeys(files.earlier, { ...old, replacedAt }, passphrase);
  await writeKeyFile(files.nextKey, fresh.keys.export(), secrecy(passphrase));
  writeFileDurably(files.nextCertificate, fresh.certificate);
  finishRenewal(files);
}

function removeEarlierKeys(folder: string, replacedAt: number): void {
  for (const kind of ['key', 'cert']) rmSync(path.join(folder, `${replacedAt}.${kind}`), { force: true });
}

/** The next certificate lies there only once all that belongs to it does. */
function finishRenewal(files: ReturnType<typeof userFiles>): void {
  if (!existsSync(files.nextCertificate)) return;
  if (existsSync(files.nextKey)) renameSync(files.nextKey, files.key);
  syncFolder(files.folder);
  renameSync(files.nextCertificate, files.certificate);
  syncFolder(files.folder);
}

/** Of a user's earlier keys those to which something may still be sealed that waits for him. */
export function retiredKeys(earlier: readonly EarlierKeys[], trust: Trust): HeldKeys[] {
  return earlier.flatMap(({ keys, certificate, replacedAt }): HeldKeys[] => {
    const check = checkIdentityCertificate(certificate, trust);
    // Revoked ones too: what came sealed to them was written by somebody else, and may be read.
    return check.kind === 'invalid' || trust.now - replacedAt > memoryMs
      ? []
      : [{ keys, certificate: check.certificate }];
  });
}

const prefix = 'epost-keys-1:';
const bytes = (least: number, most: number) =>
  z.instanceof(Uint8Array).refine((value) => value.length >= least && value.length <= most);
const transitSchema = z.strictObject({
  version: z.literal(1),
  address: z.string().max(320),
  certificate: bytes(1, 4_096),
  keys: bytes(64, 64),
});
const maxTextBytes = 16_384;

/** New keys as one line of text. Whoever has it is that user. */
export function keysText({ address, certificate, keys }: KeysInTransit): string {
  const encoded = cbor.encode({ version: 1, address, certificate, keys: keys.export() });
  return prefix + Buffer.from(encoded).toString('base64url');
}

/** Reads new keys; a HomeFault `bad-keys` that says what is wrong with them. They belong to the certificate, and the ring's authority has signed it. */
export function parseKeys(text: string, trust: Trust): KeysInTransit & { readonly certified: IdentityCertificate } {
  const bad = (why: string, cause?: unknown): HomeFault =>
    new HomeFault(
      'bad-keys',
      `these are no usable keys: ${why}; make new ones with \`epost user renew\` where the ring’s authority is`,
      { cause },
    );
  const found = new RegExp(`${prefix}([A-Za-z0-9_-]+)`).exec(text.slice(0, maxTextBytes));
  if (found === null) throw bad(`found no "${prefix}…" in it`);
  let value: unknown;
  try {
    value = cbor.decode(Buffer.from(found[1] ?? '', 'base64url'));
  } catch (cause) {
    throw bad('it is cut or damaged', cause);
  }
  const checked = transitSchema.safeParse(value);
  if (!checked.success) throw bad('it is damaged, or of another version');
  const parsed = parseAddress(checked.data.address);
  const keys = importIdentityKeys(checked.data.keys);
  const check = checkIdentityCertificate(checked.data.certificate, trust);
  if (check.kind === 'invalid' || check.kind === 'revoked')
    throw bad(`their certificate does not hold (${check.reason})`);
  const { certificate: certified } = check;
  if (
    parsed.kind !== 'address' ||
    certified.address !== parsed.address ||
    !equalBytes(certified.signingKey, keys.signing.public) ||
    !equalBytes(certified.sealingKey, keys.sealing.public)
  )
    throw bad('their certificate is for other keys');
  return { address: parsed.address, certificate: checked.data.certificate, keys, certified };
}
