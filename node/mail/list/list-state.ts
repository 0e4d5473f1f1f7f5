/** What a mailing list is: who belongs to it, who may write to it, whose it is. A fold over the records of its log. Pure. */
import { z } from 'zod';
import { type Address, parseAddress, withoutTag } from '../../../policy/address.ts';
import { decodeCanonical, encodeCanonical } from '../../identity/canonical.ts';
import { addressShape } from '../../identity/shapes.ts';
import { maxOwners, type Posting, postings } from '../../store/directory.ts';

export interface ListState {
  readonly posting: Posting;
  /** Users of the ring: they get what does not reach members, and may write in the list's name. */
  readonly owners: readonly Address[];
  /** By canonical address, as they were written: the case of a foreign local part is not ours to change (RFC 5321 §2.4). */
  readonly members: ReadonlyMap<Address, string>;
}

export type ListChange =
  | { readonly kind: 'settings'; readonly posting: Posting; readonly owners: readonly Address[] }
  | { readonly kind: 'add' | 'remove'; readonly members: readonly string[] };

/** A post is a notification for each of them. */
export const maxMembers = 2_000;
/** A record of a log has 16 KiB; so many addresses of the longest kind fit. */
export const maxChanged = 40;
// RFC 5321 §4.5.3.1: 64 and 255 octets, and the @.
const maxAddressChars = 320;

export const noList: ListState = { posting: 'owners', owners: [], members: new Map() };

const members = z.array(z.string().max(maxAddressChars)).max(maxChanged);
export const changeShape = z.discriminatedUnion('kind', [
  z.strictObject({
    v: z.literal(1),
    kind: z.literal('settings'),
    posting: z.enum(postings),
    // Without an owner nobody could be told what fails.
    owners: z.array(addressShape).min(1).max(maxOwners),
  }),
  z.strictObject({ v: z.literal(1), kind: z.enum(['add', 'remove']), members }),
]);

export function encodeChange(change: ListChange): Uint8Array {
  return encodeCanonical(changeShape.parse({ ...change, v: 1 }));
}

/** Undefined for what {@link encodeChange} does not make: a later version's record, which says nothing to this one. */
export function decodeChange(record: Uint8Array): ListChange | undefined {
  const decoded = decodeCanonical(record, 16 * 1024);
  if (decoded.kind === 'invalid') return undefined;
  return changeShape.safeParse(decoded.value).data;
}

/** The list after a change. Beyond {@link maxMembers} nobody is added: the same for everyone who reads the log. */
export function changed(state: ListState, change: ListChange): ListState {
  if (change.kind === 'settings') return { ...state, posting: change.posting, owners: change.owners };
  const next = new Map(state.members);
  for (const text of change.members) {
    const parsed = parseAddress(text);
    if (parsed.kind === 'invalid') continue;
    if (change.kind === 'remove') next.delete(parsed.address);
    else if (next.size < maxMembers || next.has(parsed.address)) next.set(parsed.address, text);
  }
  return { ...state, members: next };
}

export function isMember({ members: all }: ListState, text: string): boolean {
  const parsed = parseAddress(text);
  return parsed.kind === 'address' && all.has(parsed.address);
}

/** Who writes to a list, as far as that is proven. */
export type Poster =
  | { readonly kind: 'ring'; readonly address: Address }
  /** From the Internet; `address` only where the author's domain vouches for it (DMARC). */
  | { readonly kind: 'outside'; readonly address: Address | undefined };

export function mayPost({ posting, owners, members: all }: ListState, poster: Poster): boolean {
  const { address } = poster;
  const belongs = (to: { has(address: Address): boolean }): boolean =>
    address !== undefined && (to.has(address) || to.has(withoutTag(address)));
  switch (posting) {
    case 'anyone':
      return true;
    case 'ring':
      return poster.kind === 'ring';
    case 'members':
      return belongs(all) || belongs(new Set(owners));
    default:
      return poster.kind === 'ring' && belongs(new Set(owners));
  }
}
