import { createHash, randomBytes } from 'node:crypto';
import { encode } from '@ipld/dag-cbor';
import { type Address, parseAddress } from '../../../policy/address.ts';
import { NotifyFault } from '../fault.ts';
import { asBytes, asFields, asList, asText, asTime } from '../field.ts';
import { maxBodyBytes } from '../lifetime.ts';

// An epoch travels in one notification, and every member follows every other's log: beyond this a mailing list serves better.
export const maxMembers = 100;
const tag = 'epost/group';
const maxAddressLength = 320;

/**
 * Who is in a group from a moment on, and the key of what they say to each other meanwhile. Made by the group's owner alone; each change of
 * members is a new epoch with a new key, so that whoever was put out reads nothing that is said under it.
 */
export interface Epoch {
  /** 32 bytes: hash of the owner's address and `nonce`, so that nobody else's epoch can pass for one of this group. */
  readonly group: Uint8Array;
  readonly nonce: Uint8Array;
  readonly owner: Address;
  /** Strictly increasing; the time it was made, in ms, unless the clock was behind. So an owner restored from a backup makes no number twice. */
  readonly number: number;
  /** The owner included. */
  readonly members: readonly Address[];
  /** 32 bytes: seals what is said in this epoch. */
  readonly key: Uint8Array;
  /** 32 bytes, the same for the group's whole life: finds and opens the members' logs, whose records are sealed once more by `key`. */
  readonly logSecret: Uint8Array;
}

function groupId(owner: Address, nonce: Uint8Array): Uint8Array {
  return Uint8Array.from(createHash('sha256').update(`${tag}\0${owner}\0`).update(nonce).digest());
}

// Not the Buffer that node:crypto gives: what is made and what is read must compare as the same.
function freshKey(): Uint8Array {
  return Uint8Array.from(randomBytes(32));
}

function checked(epoch: Epoch): Epoch {
  if (new Set(epoch.members).size > maxMembers || encodeEpoch(epoch).length > maxBodyBytes)
    throw new NotifyFault(
      'too-large',
      `a group has at most ${maxMembers} members, whose addresses fit into one notification`,
    );
  return epoch;
}

/** The first epoch of a new group. Throws NotifyFault `too-large`. */
export function firstEpoch(owner: Address, others: readonly Address[], now: number): Epoch {
  const nonce = freshKey();
  const members = [...new Set([owner, ...others])];
  return checked({
    group: groupId(owner, nonce),
    nonce,
    owner,
    number: now,
    members,
    key: freshKey(),
    logSecret: freshKey(),
  });
}

/** The next epoch, with these others beside the owner, under a fresh key. */
export function nextEpoch(before: Epoch, others: readonly Address[], now: number): Epoch {
  const members = [...new Set([before.owner, ...others])];
  return checked({ ...before, number: Math.max(before.number + 1, now), members, key: freshKey() });
}

/** As the body of a notification. */
export function encodeEpoch({ nonce, number, members, key, logSecret }: Epoch): Uint8Array {
  return encode({ kind: tag, v: 1, nonce, number, members, key, logSecret });
}

/** The epoch in a body that `owner` signed; undefined for a body of another kind. Throws NotifyFault `damaged` for a bad one. */
export function decodeEpoch(body: Uint8Array, owner: Address): Epoch | undefined {
  let fields: Record<string, unknown>;
  try {
    fields = asFields(body, ['kind', 'v', 'nonce', 'number', 'members', 'key', 'logSecret']);
  } catch (error) {
    if (error instanceof NotifyFault) return undefined;
    throw error;
  }
  if (fields['kind'] !== tag || fields['v'] !== 1) return undefined;
  const nonce = asBytes(fields['nonce'], 32, 32);
  const members = asList(fields['members'], maxMembers).map(addressOf);
  if (!members.includes(owner)) throw new NotifyFault('damaged', 'a group without its owner');
  return {
    group: groupId(owner, nonce),
    nonce,
    owner,
    number: asTime(fields['number']),
    members,
    key: asBytes(fields['key'], 32, 32),
    logSecret: asBytes(fields['logSecret'], 32, 32),
  };
}

function addressOf(value: unknown): Address {
  const parsed = parseAddress(asText(value, maxAddressLength));
  if (parsed.kind === 'invalid') throw new NotifyFault('damaged', 'a member without an address');
  return parsed.address;
}
