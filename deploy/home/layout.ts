import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Address } from '../../policy/address.ts';
import { HomeFault } from './fault.ts';

/** Where each thing of one home lies. Paths only; nothing is touched but by {@link runFolder}. */
export interface Layout {
  readonly home: string;
  readonly config: string;
  readonly policy: string;
  /** Every policy that was in force, by hash. */
  readonly policyHistory: string;
  readonly ring: string;
  readonly revocations: string;
  readonly caKey: string;
  readonly caState: string;
  readonly node: {
    readonly folder: string;
    readonly key: string;
    readonly certificate: string;
    readonly bootstrap: string;
  };
  readonly users: string;
  readonly lists: string;
  readonly gateway: {
    readonly folder: string;
    readonly key: string;
    readonly certificate: string;
    readonly mailerDaemonKey: string;
    readonly mailerDaemonCertificate: string;
    readonly dkim: string;
    readonly queue: string;
    readonly ledger: string;
    readonly tlsReports: string;
    readonly limits: string;
  };
  readonly tls: { readonly certificate: string; readonly key: string };
  readonly trace: string;
}

export function layoutOf(folder: string): Layout {
  const home = path.resolve(folder);
  const at = (...parts: string[]): string => path.join(home, ...parts);
  return {
    home,
    config: at('epost.yaml'),
    policy: at('policy.yaml'),
    policyHistory: at('policy-history'),
    ring: at('ring', 'ring.cert'),
    revocations: at('ring', 'revocations.cert'),
    caKey: at('ca', 'ca.key'),
    caState: at('ca', 'state.json'),
    node: {
      folder: at('node'),
      key: at('node', 'node.key'),
      certificate: at('node', 'node.cert'),
      bootstrap: at('node', 'bootstrap.json'),
    },
    users: at('users'),
    lists: at('lists'),
    gateway: {
      folder: at('gateway'),
      key: at('gateway', 'gateway.key'),
      certificate: at('gateway', 'gateway.cert'),
      mailerDaemonKey: at('gateway', 'mailer-daemon.key'),
      mailerDaemonCertificate: at('gateway', 'mailer-daemon.cert'),
      dkim: at('gateway', 'dkim'),
      queue: at('gateway', 'queue'),
      ledger: at('gateway', 'ledger'),
      tlsReports: at('gateway', 'tls-reports'),
      limits: at('gateway', 'limits'),
    },
    tls: { certificate: at('tls', 'cert.pem'), key: at('tls', 'key.pem') },
    trace: at('trace'),
  };
}

/** The files of one user whose mailbox lives on this home. */
export function userFiles(
  layout: Layout,
  address: Address,
): Readonly<
  Record<'folder' | 'key' | 'certificate' | 'login' | 'policy' | 'earlier' | 'nextKey' | 'nextCertificate', string>
> {
  const folder = path.join(layout.users, folderName(address));
  return {
    folder,
    key: path.join(folder, 'identity.key'),
    certificate: path.join(folder, 'identity.cert'),
    login: path.join(folder, 'login.json'),
    policy: path.join(folder, 'policy.yaml'),
    // Keys that he had before (home/user-keys.ts), and those that are just taking the place of the present ones.
    earlier: path.join(folder, 'earlier'),
    nextKey: path.join(folder, 'next.key'),
    nextCertificate: path.join(folder, 'next.cert'),
  };
}

/** The files of a mailing list whose node this home is. */
export function listFiles(
  layout: Layout,
  address: Address,
): { folder: string; key: string; certificate: string; settings: string } {
  const folder = path.join(layout.lists, folderName(address));
  return {
    folder,
    key: path.join(folder, 'identity.key'),
    certificate: path.join(folder, 'identity.cert'),
    settings: path.join(folder, 'list.json'),
  };
}

/** Canonical addresses hold no path separator but may hold characters that file systems treat alike. */
function folderName(address: Address): string {
  return encodeURIComponent(address).replaceAll('*', '%2A');
}

// sun_path holds 108 bytes with its NUL on Linux, 104 on macOS; the longest name put below it is "gateway.lock".
const maxSocketFolderBytes = 103 - '/gateway.lock'.length;

/**
 * The folder for this home's sockets, made 0700: `run` in the home, or where that path is too long for a Unix socket, a
 * folder named by the home's hash under the system's temporary folder, refused if somebody else owns it.
 */
export function runFolder(layout: Layout): string {
  const inside = path.join(layout.home, 'run');
  const folder =
    Buffer.byteLength(inside) <= maxSocketFolderBytes
      ? inside
      : path.join(os.tmpdir(), `epost-${createHash('sha256').update(layout.home).digest('hex').slice(0, 24)}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(folder);
  const owner = process.getuid?.();
  if (!found.isDirectory() || (owner !== undefined && found.uid !== owner)) {
    throw new HomeFault('run-folder', `${folder} is not a folder of this user; remove it or choose a shorter --home`);
  }
  chmodSync(folder, 0o700);
  return folder;
}

/** The socket by which commands tell the running gateway of this home. */
export function controlPath(layout: Layout): string {
  return path.join(runFolder(layout), 'gateway.ctl');
}
