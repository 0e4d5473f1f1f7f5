import { existsSync } from 'node:fs';
import { createDkimKeys } from '../../gateway/dkim/keys.ts';
import { CertificateAuthority } from '../../node/identity/authority.ts';
import { writeKeyFile } from '../../node/identity/key-file.ts';
import { generateIdentityKeys } from '../../node/identity/keys.ts';
import { type Address, type Domain, parseAddress } from '../../policy/address.ts';
import { standardPolicy } from '../../policy/standard.ts';
import { type Choices, configText } from '../config/template.ts';
import { HomeFault } from './fault.ts';
import { makeOwnFolder, writeFileDurably } from './files.ts';
import { type Layout, layoutOf } from './layout.ts';
import { issueNode, writeNodeFiles } from './node-files.ts';
import { generatePassword } from './password.ts';
import { saveAuthority } from './ring-files.ts';
import { makeHome } from './staging.ts';
import { makeSelfSignedTls } from './tls.ts';
import { addUser } from './users.ts';

export interface NewUser {
  readonly address: Address;
  /** Said once, kept nowhere. */
  readonly password: string;
}

export interface NewHome {
  readonly layout: Layout;
  readonly domain: Domain;
  readonly users: readonly NewUser[];
}

// The gateway and mailer-daemon certificates: as long as the users'.
const serviceCertificateDays = 825;
const firstUsers = ['alice', 'bob'];

/** Whether a ring or a joined node lies in this folder. */
export function isHome(folder: string): boolean {
  return existsSync(layoutOf(folder).ring);
}

export interface HomeChoices extends Omit<Choices, 'gateway' | 'postmaster' | 'domain'> {
  readonly domain: Domain;
  readonly passphrase: string | undefined;
  /** Names before the @. */
  readonly users?: readonly string[];
  /** Said once and for all: it stands in the signed description of the ring. */
  readonly nodesPerIdentity?: number;
  readonly now: number;
}

/** A new ring with its first node and gateway: authority, keys, certificates, users, TLS, DKIM, configuration, policy. */
export async function createHome(folder: string, choices: HomeChoices): Promise<NewHome> {
  const { layout, made } = await makeHome(folder, (staging) => fillHome(staging, choices));
  return { layout, domain: choices.domain, users: made };
}

async function fillHome(layout: Layout, choices: HomeChoices): Promise<NewUser[]> {
  const { domain, now, passphrase } = choices;
  const secrecy = passphrase === undefined ? {} : { passphrase };
  const bound = choices.nodesPerIdentity === undefined ? {} : { nodesPerIdentity: choices.nodesPerIdentity };
  const authority = CertificateAuthority.create(domain, [], () => now, undefined, bound);
  makeOwnFolder(layout.caKey);
  await writeKeyFile(layout.caKey, authority.exportKey(), { kind: 'ca', ...secrecy });

  const users: NewUser[] = [];
  for (const name of choices.users ?? firstUsers) {
    const parsed = parseAddress(`${name}@${domain}`);
    if (parsed.kind !== 'address')
      throw new HomeFault('bad-user', `${name}@${domain} is no mail address: ${parsed.reason}`);
    const user = { address: parsed.address, password: generatePassword() };
    await addUser(layout, authority, { ...user, passphrase });
    users.push(user);
  }
  const owner = users[0]?.address ?? serviceAddress('postmaster', domain);
  await writeNodeFiles(layout, issueNode(authority, owner), passphrase);
  await issueService(layout.gateway, 'gateway');
  await issueService(
    { key: layout.gateway.mailerDaemonKey, certificate: layout.gateway.mailerDaemonCertificate },
    'service',
  );
  writeFileDurably(layout.revocations, authority.revocations());
  saveAuthority(layout, authority);

  await makeSelfSignedTls(layout, choices.hostname, now);
  await createDkimKeys(layout.gateway.dkim, dkimLabel(now));
  writeFileDurably(layout.config, configText({ ...choices, postmaster: owner, gateway: true }));
  writeFileDurably(layout.policy, standardPolicy);
  writeFileDurably(layout.ring, authority.ringBytes());
  return users;

  async function issueService(
    files: { readonly key: string; readonly certificate: string },
    kind: 'gateway' | 'service',
  ): Promise<void> {
    const keys = generateIdentityKeys();
    const address = serviceAddress(kind === 'gateway' ? 'gateway' : 'mailer-daemon', domain);
    const certificate = authority.issueIdentity({
      kind,
      address,
      signingKey: keys.signing.public,
      sealingKey: keys.sealing.public,
      days: serviceCertificateDays,
    });
    makeOwnFolder(files.key);
    await writeKeyFile(files.key, keys.export(), { kind: 'identity', ...secrecy });
    writeFileDurably(files.certificate, certificate.bytes);
  }
}

/** The address of one of a ring's own identities. */
export function serviceAddress(name: 'gateway' | 'mailer-daemon' | 'postmaster', ring: Domain): Address {
  return `${name}@${ring}` as Address;
}

/** The month, so that a selector tells how old its keys are. */
export function dkimLabel(now: number): string {
  return new Date(now).toISOString().slice(0, 7).replace('-', '');
}
