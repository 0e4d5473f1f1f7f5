import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { authorityStateShape, CertificateAuthority } from '../../node/identity/authority.ts';
import { readKeyFile } from '../../node/identity/key-file.ts';
import { decodeRing, type RingDescriptor } from '../../node/identity/ring.ts';
import { HomeFault } from './fault.ts';
import { readHomeFile, readHomeJson, writeFileDurably } from './files.ts';
import type { Layout } from './layout.ts';

/** The ring that this home belongs to; a HomeFault where the folder is no home or its ring file is damaged. */
export function readRing(layout: Layout): RingDescriptor {
  if (!existsSync(layout.ring)) {
    throw new HomeFault(
      'not-a-home',
      `${layout.home} is not an ePOST home; make one with \`epost init --home ${layout.home}\` or join a ring with \`epost join\``,
    );
  }
  const read = decodeRing(readHomeFile(layout.ring, 'the ring file'));
  if (read.kind === 'invalid')
    throw new HomeFault(
      'damaged',
      `the home is damaged: the ring file ${layout.ring} does not hold a signed ring (${read.reason}); restore it from a backup`,
    );
  return read.ring;
}

/** The newest revocation list that this home has, if any. */
export function readRevocations(layout: Layout): Uint8Array | undefined {
  return existsSync(layout.revocations) ? readFileSync(layout.revocations) : undefined;
}

/** The ring's certificate authority, where its key lies on this home; a HomeFault `no-authority` elsewhere. */
export async function openAuthority(
  layout: Layout,
  passphrase: string | undefined,
  now: () => number,
): Promise<CertificateAuthority> {
  if (!existsSync(layout.caKey)) {
    throw new HomeFault(
      'no-authority',
      `${layout.home} does not hold the ring’s certificate authority; run this on the machine where \`epost init\` was run`,
    );
  }
  const key = await readKeyFile(layout.caKey, { kind: 'ca', ...(passphrase === undefined ? {} : { passphrase }) });
  const state = authorityStateShape.safeParse(readHomeJson(layout.caState, 'the authority’s state'));
  if (!state.success)
    throw new HomeFault(
      'damaged',
      `the home is damaged: the authority’s state ${layout.caState} is not what this version writes; restore it from a backup`,
    );
  return CertificateAuthority.fromKey(key, state.data, now);
}

/** Keeps the authority's serial numbers. Call before a new certificate leaves this process, so that no serial is used twice. */
export function saveAuthority(layout: Layout, authority: CertificateAuthority): void {
  writeFileDurably(layout.caState, `${JSON.stringify(authority.state(), undefined, 1)}\n`);
}

const bootstrapSchema = z.array(z.string().max(256)).max(32);

/** The multiaddrs of the nodes that a joined home dials first; none on the first machine. */
export function readBootstrap(layout: Layout): string[] {
  if (!existsSync(layout.node.bootstrap)) return [];
  const checked = bootstrapSchema.safeParse(readHomeJson(layout.node.bootstrap, 'the list of first nodes'));
  if (!checked.success)
    throw new HomeFault(
      'damaged',
      `the home is damaged: ${layout.node.bootstrap} is no list of addresses; restore it from a backup`,
    );
  return checked.data;
}
