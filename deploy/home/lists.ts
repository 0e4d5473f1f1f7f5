import { existsSync, rmSync } from 'node:fs';
import { z } from 'zod';
import type { CertificateAuthority } from '../../node/identity/authority.ts';
import { readKeyFile } from '../../node/identity/key-file.ts';
import { type IdentityKeys, importIdentityKeys } from '../../node/identity/keys.ts';
import { type ListRecord, listShape } from '../../node/store/directory.ts';
import type { Address } from '../../policy/address.ts';
import { HomeFault } from './fault.ts';
import { readHomeFile, readHomeJson, syncFolder, writeFileDurably } from './files.ts';
import { type Layout, listFiles } from './layout.ts';
import { saveAuthority } from './ring-files.ts';
import { issueFor, issueKeys } from './user-keys.ts';
import { addressesIn, placeIdentity } from './users.ts';

const settingsSchema = z.strictObject({
  version: z.literal(1),
  /** As it was made; who may post and whose it is stands in its log from then on. */
  made: listShape,
  /** `new`: the log does not exist in the ring yet and may be made; `open`: it must be found there. */
  log: z.enum(['new', 'open']),
});
type Settings = z.infer<typeof settingsSchema>;

/** A mailing list that this home expands. */
export interface LocalList {
  readonly address: Address;
  readonly certificate: Uint8Array;
  readonly keys: IdentityKeys;
  readonly made: ListRecord;
  readonly log: Settings['log'];
}

export function listLists(layout: Layout): Address[] {
  return addressesIn(layout.lists);
}

export async function readList(layout: Layout, address: Address, passphrase: string | undefined): Promise<LocalList> {
  const files = listFiles(layout, address);
  if (!existsSync(files.folder))
    throw new HomeFault('no-such-list', `${address} is no list of this home; \`epost list show\` shows which are`);
  const secret = await readKeyFile(files.key, {
    kind: 'identity',
    ...(passphrase === undefined ? {} : { passphrase }),
  });
  const { made, log } = readSettings(files.settings);
  return {
    address,
    certificate: readHomeFile(files.certificate, 'the certificate'),
    keys: importIdentityKeys(secret),
    made,
    log,
  };
}

function readSettings(file: string): Settings {
  const checked = settingsSchema.safeParse(readHomeJson(file, 'the settings of a list'));
  if (checked.success) return checked.data;
  throw new HomeFault(
    'damaged',
    `the home is damaged: ${file} is not what this version writes; restore it from a backup`,
  );
}

/** A new list of the ring that this home expands: keys and certificate. All or nothing. */
export async function addList(
  layout: Layout,
  authority: CertificateAuthority,
  list: { readonly address: Address; readonly made: ListRecord; readonly passphrase: string | undefined },
): Promise<void> {
  const { address, made, passphrase } = list;
  const settings: Settings = { version: 1, made, log: 'new' };
  await placeIdentity(listFiles(layout, address).folder, issueKeys(authority, 'list', address), passphrase, {
    'list.json': settingsText(settings),
  });
}

/** A new certificate for the same keys: nothing else changes. Until when it holds, ms. */
export async function renewList(
  layout: Layout,
  authority: CertificateAuthority,
  { address, passphrase }: { readonly address: Address; readonly passphrase: string | undefined },
): Promise<number> {
  const { keys } = await readList(layout, address, passphrase);
  const { bytes, notAfter } = issueFor(authority, 'list', address, keys);
  saveAuthority(layout, authority);
  writeFileDurably(listFiles(layout, address).certificate, bytes);
  return notAfter;
}

/** The log exists in the ring from now on: never make it anew. */
export function markListOpen(layout: Layout, address: Address): void {
  const { settings } = listFiles(layout, address);
  const before = readSettings(settings);
  if (before.log === 'new') writeFileDurably(settings, settingsText({ ...before, log: 'open' }));
}

export function removeList(layout: Layout, address: Address): void {
  rmSync(listFiles(layout, address).folder, { recursive: true, force: true });
  syncFolder(layout.lists);
}

function settingsText(settings: Settings): string {
  return `${JSON.stringify(settings, undefined, 1)}\n`;
}
