import type { SigningKey } from '../../node/identity/keys.ts';
import type { Lookup } from '../../node/store/directory.ts';
import { type DirectoryEntry, type ListRecord, makeIdentityRecord } from '../../node/store/directory.ts';
import type { Address } from '../../policy/address.ts';

/** As many as a record takes (node/store/directory.ts). */
const maxContacts = 8;
const freshMs = 86_400_000;

export interface RecordToPublish {
  readonly store: {
    lookupIdentity(address: Address): Promise<Lookup>;
    publishIdentity(entry: DirectoryEntry): Promise<unknown>;
  };
  /** The node where the identity is at home. */
  readonly peerId: string;
  /** Of nodes that the ring knows for this identity already, those where it still is. */
  readonly alsoAt?: (contacts: readonly string[]) => readonly string[];
  readonly address: Address;
  readonly certificate: Uint8Array;
  readonly signing: SigningKey;
  readonly now: number;
  /** Other names of the ring's identities, which everyone in the ring is to know. */
  readonly aliases?: ReadonlyMap<Address, Address> | undefined;
  /** Aliases that the ring knows already stay as they are: somebody at home for the same identity may have said others since. */
  readonly keepAliases?: boolean;
  /** Of a mailing list. */
  readonly list?: ListRecord | undefined;
}

/**
 * Tells the ring where an identity is at home. Resolves when the entry is at the write quorum. The version is above what
 * the ring knows and above the clock of every earlier publication, so that the newest home wins.
 */
export async function publishRecord(what: RecordToPublish): Promise<void> {
  const known = await what.store.lookupIdentity(what.address);
  const record = known.kind === 'found' ? known.record : undefined;
  const others = (record?.contacts ?? []).filter((one) => one !== what.peerId);
  const contacts = [what.peerId, ...(what.alsoAt?.(others) ?? [])].slice(0, maxContacts);
  // Two that are at home together would otherwise overtake each other for ever.
  const own = [...(what.aliases ?? [])].sort(([one], [other]) => (one < other ? -1 : 1));
  const aliases = what.keepAliases === true && record !== undefined ? (record.aliases ?? []) : own;
  const isSame =
    record !== undefined && sameSet(record.contacts, contacts) && sameAliases(record.aliases ?? [], aliases);
  if (what.alsoAt !== undefined && isSame && what.now - record.publishedAt < freshMs) return;
  const next = makeIdentityRecord(
    {
      address: what.address,
      version: Math.max((record?.version ?? 0) + 1, what.now),
      contacts,
      publishedAt: what.now,
      ...(aliases.length === 0 ? {} : { aliases }),
      ...(what.list === undefined ? {} : { list: what.list }),
    },
    what.signing,
  );
  await what.store.publishIdentity({ certificate: what.certificate, record: next });
}

function sameSet(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((entry) => other.includes(entry));
}

type Aliases = readonly (readonly [Address, Address])[];

function sameAliases(one: Aliases, other: Aliases): boolean {
  const text = (aliases: Aliases): string => aliases.map((pair) => pair.join(' ')).join('\n');
  return text(one) === text(other);
}
