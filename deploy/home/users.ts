import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import type { CertificateAuthority } from '../../node/identity/authority.ts';
import { writeKeyFile } from '../../node/identity/key-file.ts';
import type { IdentityKeys } from '../../node/identity/keys.ts';
import { type Address, parseAddress } from '../../policy/address.ts';
import { HomeFault } from './fault.ts';
import { readHomeJson, syncFolder, writeFileDurably } from './files.ts';
import { type Layout, userFiles } from './layout.ts';
import { hashPassword, passwordRecordSchema } from './password.ts';
import { resealScram, type ScramRecord, scramRecordSchema, sealScram } from './scram-record.ts';
import {
  type EarlierKeys,
  issueKeys,
  readEarlierKeys,
  readUserKeys,
  replaceUserKeys,
  type UserKeys,
  writeEarlierKeys,
} from './user-keys.ts';

const loginSchema = z.strictObject({
  version: z.literal(1),
  password: passwordRecordSchema,
  /** Of the same password; not there for files from before, until the next log-in by PLAIN. */
  scram: scramRecordSchema.optional(),
  /** `new`: its folders do not exist in the ring yet and may be made; `open`: they must be found there. */
  mailbox: z.enum(['new', 'open']),
});
export type Login = z.infer<typeof loginSchema>;

/** A user whose mailbox lives on this home. */
export interface LocalUser {
  readonly address: Address;
  readonly certificate: Uint8Array;
  readonly keys: IdentityKeys;
  /** Those that he had before, the first ones first. */
  readonly earlier: readonly EarlierKeys[];
  readonly login: Login;
}

/** The keys that a user's mailbox was made with, and is written with for ever. */
export function mailboxKeysOf({ keys, earlier }: LocalUser): IdentityKeys {
  return earlier[0]?.keys ?? keys;
}

/** The users whose mailboxes live on this home, without opening their keys. */
export function listUsers(layout: Layout): Address[] {
  return addressesIn(layout.users);
}

/** Of a folder that has one in it for each address. */
export function addressesIn(folder: string): Address[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => !name.startsWith('.'))
    .map((name) => parseAddress(decodeURIComponent(name)))
    .filter((parsed) => parsed.kind === 'address')
    .map((parsed) => parsed.address)
    .sort();
}

export async function readUser(layout: Layout, address: Address, passphrase: string | undefined): Promise<LocalUser> {
  const files = userFiles(layout, address);
  if (!existsSync(files.folder))
    throw new HomeFault('no-such-user', `${address} has no mailbox on this home; \`epost user list\` shows who has`);
  return {
    address,
    ...(await readUserKeys(layout, address, passphrase)),
    earlier: await readEarlierKeys(layout, address, passphrase),
    login: readLogin(layout, address),
  };
}

export function readLogin(layout: Layout, address: Address): Login {
  const file = userFiles(layout, address).login;
  const checked = loginSchema.safeParse(readHomeJson(file, 'the login file'));
  if (!checked.success)
    throw new HomeFault(
      'damaged',
      `the home is damaged: the login file ${file} is not what this version writes; set a new password with \`epost user passwd ${address}\``,
    );
  return checked.data;
}

/** A new user of the ring with a mailbox on this home: keys, certificate, password. All or nothing. */
export async function addUser(
  layout: Layout,
  authority: CertificateAuthority,
  user: { readonly address: Address; readonly password: string; readonly passphrase: string | undefined },
): Promise<LocalUser> {
  if (existsSync(userFiles(layout, user.address).folder))
    throw new HomeFault(
      'user-exists',
      `${user.address} has a mailbox here already; \`epost user passwd\` sets a new password`,
    );
  const { keys, certificate } = issueKeys(authority, 'user', user.address);
  const login: Login = {
    version: 1,
    password: await hashPassword(user.password),
    scram: await sealScram(user.address, user.password, keys.sealing.public),
    mailbox: 'new',
  };
  const made: LocalUser = { address: user.address, certificate, keys, earlier: [], login };
  await placeUser(layout, made, user.passphrase);
  return made;
}

/** Writes a user's files beside their place and moves them there in one step. */
export async function placeUser(layout: Layout, user: LocalUser, passphrase: string | undefined): Promise<void> {
  const { folder } = userFiles(layout, user.address);
  await placeIdentity(folder, user, passphrase, { 'login.json': loginText(user.login) });
}

/** Writes the files of an identity beside their place and moves them there in one step. */
export async function placeIdentity(
  folder: string,
  { certificate, keys, earlier = [] }: Pick<LocalUser, 'certificate' | 'keys'> & Partial<Pick<LocalUser, 'earlier'>>,
  passphrase: string | undefined,
  others: Readonly<Record<string, string>>,
): Promise<void> {
  const parent = path.dirname(folder);
  const staging = path.join(parent, `.${path.basename(folder)}.new`);
  rmSync(staging, { recursive: true, force: true });
  writeFileDurably(path.join(staging, 'identity.cert'), certificate);
  await writeKeyFile(path.join(staging, 'identity.key'), keys.export(), {
    kind: 'identity',
    ...(passphrase === undefined ? {} : { passphrase }),
  });
  for (const before of earlier) await writeEarlierKeys(path.join(staging, 'earlier'), before, passphrase);
  for (const [name, text] of Object.entries(others)) writeFileDurably(path.join(staging, name), text);
  renameSync(staging, folder);
  syncFolder(parent);
}

/** Gives a user of this home new keys, as {@link replaceUserKeys}; his password stays. */
export async function renewUser(
  layout: Layout,
  address: Address,
  fresh: UserKeys,
  how: { readonly passphrase: string | undefined; readonly now: number },
): Promise<void> {
  const { keys, login } = await readUser(layout, address, how.passphrase);
  await replaceUserKeys(layout, address, fresh, how);
  const { scram: sealed, ...rest } = login;
  const scram = sealed && resealScram(address, sealed, keys.sealing, fresh.keys.sealing.public);
  writeFileDurably(userFiles(layout, address).login, loginText(scram === undefined ? rest : { ...rest, scram }));
}

export async function setPassword(layout: Layout, address: Address, password: string): Promise<void> {
  const files = userFiles(layout, address);
  if (!existsSync(files.folder))
    throw new HomeFault('no-such-user', `${address} has no mailbox on this home; \`epost user list\` shows who has`);
  const mailbox = existsSync(files.login) && readFileSync(files.login, 'utf8').includes('"new"') ? 'new' : 'open';
  const sealTo = sealToOf(layout, address);
  const scram = sealTo === undefined ? {} : { scram: await sealScram(address, password, sealTo) };
  writeFileDurably(files.login, loginText({ version: 1, password: await hashPassword(password), ...scram, mailbox }));
}

/** A file that is not readable is no reason not to write a new one. */
function sealToOf(layout: Layout, address: Address): Uint8Array | undefined {
  try {
    const { scram } = readLogin(layout, address);
    return scram === undefined ? undefined : Buffer.from(scram.sealTo, 'base64');
  } catch (fault) {
    if (fault instanceof HomeFault) return undefined;
    throw fault;
  }
}

/** Keeps the SCRAM keys of a password that was just shown, unless the file has another one by now. */
export function keepScram(layout: Layout, address: Address, login: Login, scram: ScramRecord): void {
  const now = readLogin(layout, address);
  if (now.password.hash !== login.password.hash) return;
  writeFileDurably(userFiles(layout, address).login, loginText({ ...now, scram }));
}

/** The mailbox's folders exist in the ring from now on: never make them anew. */
export function markMailboxOpen(layout: Layout, address: Address): void {
  const login = readLogin(layout, address);
  if (login.mailbox === 'new')
    writeFileDurably(userFiles(layout, address).login, loginText({ ...login, mailbox: 'open' }));
}

/** Takes a user's keys off this home (revoked, or moved to another machine). What the mailbox holds stays in the ring. */
export function removeUser(layout: Layout, address: Address): void {
  rmSync(userFiles(layout, address).folder, { recursive: true, force: true });
  syncFolder(layout.users);
}

function loginText(login: Login): string {
  return `${JSON.stringify(login, undefined, 1)}\n`;
}
