import type { CertificateAuthority } from '../../node/identity/authority.ts';
import { askNode } from '../home/ask-node.ts';
import { writeFileDurably } from '../home/files.ts';
import type { Layout } from '../home/layout.ts';
import { readPassphrase } from '../home/passphrase.ts';
import { openAuthority, saveAuthority } from '../home/ring-files.ts';
import type { Given } from './line.ts';
import { passphraseFileOf } from './options.ts';

/** The authority of this home, opened with the pass phrase that the command was given; a HomeFault `no-authority` elsewhere. */
export async function authorityFor(given: Given, layout: Layout): Promise<CertificateAuthority> {
  return await openAuthority(layout, readPassphrase(passphraseFileOf(given.values, process.env)), Date.now);
}

/**
 * Revokes for good: the new list is on disk before `alsoHere` undoes what lies on this home, and then the ring is told. Whether a running node
 * told it; otherwise it hears of it at the node's next start.
 */
export async function revokeAndTell(
  layout: Layout,
  authority: CertificateAuthority,
  serials: readonly string[],
  alsoHere: () => void = () => undefined,
): Promise<boolean> {
  return keepAndTell(layout, authority, authority.revoke(serials), alsoHere);
}

/** Keeps a new signed list of the authority and tells the ring, as {@link revokeAndTell} does. */
export async function keepAndTell(
  layout: Layout,
  authority: CertificateAuthority,
  list: Uint8Array,
  alsoHere: () => void = () => undefined,
): Promise<boolean> {
  saveAuthority(layout, authority);
  writeFileDurably(layout.revocations, list);
  alsoHere();
  return (await askNode(layout, 'reload', {})).kind === 'answered';
}

/** What to add where nobody could be told yet. */
export function toldLater(told: boolean): string {
  return told ? '' : '; the node does not run, the ring hears of it at its next start';
}
