import type { SigningKey } from '../../node/identity/keys.ts';
import type { Lookup } from '../../node/store/directory.ts';
import { type DirectoryEntry, makeIdentityRecord } from '../../node/store/directory.ts';
import type { Address } from '../../policy/address.ts';

export interface RecordToPublish {
  readonly store: {
    lookupIdentity(address: Address): Promise<Lookup>;
    publishIdentity(entry: DirectoryEntry): Promise<unknown>;
  };
  /** The node where the identity is at home. */
  readonly peerId: string;
  readonly address: Address;
  readonly certificate: Uint8Array;
  readonly signing: SigningKey;
  readonly now: number;
}

/**
 * Tells the ring where an identity is at home. Resolves when the entry is at the write quorum. The version is above what
 * the ring knows and above the clock of every earlier publication, so that the newest home wins.
 */
export async function publishRecord(what: RecordToPublish): Promise<void> {
  const known = await what.store.lookupIdentity(what.address);
  const last = known.kind === 'found' ? (known.record?.version ?? 0) : 0;
  const record = makeIdentityRecord(
    { address: what.address, version: Math.max(last + 1, what.now), contacts: [what.peerId], publishedAt: what.now },
    what.signing,
  );
  await what.store.publishIdentity({ certificate: what.certificate, record });
}
