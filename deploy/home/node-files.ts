import type { CertificateAuthority } from '../../node/identity/authority.ts';
import { writeKeyFile } from '../../node/identity/key-file.ts';
import { generateIdentityKeys } from '../../node/identity/keys.ts';
import type { Address } from '../../policy/address.ts';
import { makeOwnFolder, writeFileDurably } from './files.ts';
import type { Layout } from './layout.ts';

// Node certificates: a lost laptop's is revoked; a forgotten one ends by itself within a year.
export const nodeCertificateDays = 366;

export interface NodeCredentials {
  /** The Ed25519 seed of the node's key, 32 bytes. */
  readonly seed: Uint8Array;
  /** The exact bytes of its node certificate. */
  readonly certificate: Uint8Array;
}

export function issueNode(authority: CertificateAuthority, owner: Address): NodeCredentials {
  const keys = generateIdentityKeys();
  // An identity secret is the signing seed followed by the sealing secret; a node only signs.
  const seed = keys.export().slice(0, 32);
  const certificate = authority.issueNode({ peerKey: keys.signing.public, owner, days: nodeCertificateDays });
  return { seed, certificate: certificate.bytes };
}

export async function writeNodeFiles(
  layout: Layout,
  node: NodeCredentials,
  passphrase: string | undefined,
): Promise<void> {
  makeOwnFolder(layout.node.key);
  await writeKeyFile(layout.node.key, node.seed, { kind: 'node', ...(passphrase === undefined ? {} : { passphrase }) });
  writeFileDurably(layout.node.certificate, node.certificate);
}
