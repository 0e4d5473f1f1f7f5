import type { Address } from '../../policy/address.ts';
import type { Clock, Member } from '../overlay/overlay.ts';
import type { Lookup } from './directory.ts';
import type { Payer } from './lease-disk.ts';

export interface Quota {
  /** Bytes that one identity may have kept in the ring, each block counted once. */
  readonly identityBytes: number;
  /** Bytes that the nodes of one owner may bring in other identities' names until these confirm them. */
  readonly othersBytes: number;
}

/** A very large mailbox; and what a gateway takes in for people who are on holiday, or a neighbour moves when a node is lost. */
export const defaultQuota: Quota = { identityBytes: 20 * 2 ** 30, othersBytes: 200 * 2 ** 30 };

// Placement is uneven: of two nodes one may get twice what the other has.
const unevenness = 2;
// Below this a share says nothing: one large attachment.
const leastShareBytes = 64 * 2 ** 20;
const rememberMs = 3_600_000;
const maxRemembered = 10_000;

/**
 * Who pays for a copy that a member brings in an identity's name. A lease is a claim: one that the identity's own node makes is on its account.
 * Anyone else's is taken as well (repair moves blocks for everyone, gateways insert for recipients), on the account of the owner of the node that brings
 * it, until the identity renews it. So whoever lies can keep others' blocks alive, at his own cost; he can neither fill another's account nor end a lease.
 */
export class Claims {
  readonly #known: (address: Address) => readonly string[] | undefined;
  readonly #lookup: (address: Address) => Promise<Lookup>;
  readonly #later: (work: () => Promise<unknown>) => void;
  readonly #now: Clock;
  readonly #homes = new Map<Address, { readonly peers: readonly string[]; readonly at: number }>();

  /** `known`: peers that the identity's own record names, where its entry lies here; `lookup` asks the ring, `later` runs that in the background. */
  constructor(parts: {
    known: (address: Address) => readonly string[] | undefined;
    lookup: (address: Address) => Promise<Lookup>;
    later: (work: () => Promise<unknown>) => void;
    now: Clock;
  }) {
    this.#known = parts.known;
    this.#lookup = parts.lookup;
    this.#later = parts.later;
    this.#now = parts.now;
  }

  payer(identity: Address, from: Member): Payer {
    return from.owner === identity || this.#isHome(identity, from.peerId) ? identity : ownerPays(from);
  }

  /** Asks the ring in the background where it is not known here; the claim that comes first is then another's account. */
  #isHome(identity: Address, peerId: string): boolean {
    const here = this.#known(identity);
    if (here !== undefined) return here.includes(peerId);
    const known = this.#homes.get(identity);
    if (known === undefined || Math.abs(this.#now() - known.at) > rememberMs) this.#later(() => this.#learn(identity));
    return known?.peers.includes(peerId) ?? false;
  }

  async #learn(identity: Address): Promise<void> {
    if (this.#homes.size >= maxRemembered) this.#homes.clear();
    this.#homes.set(identity, { peers: this.#homes.get(identity)?.peers ?? [], at: this.#now() });
    const found = await this.#lookup(identity);
    const peers = found.kind === 'found' ? (found.record?.contacts ?? []) : [];
    if (found.kind !== 'unknown') this.#homes.set(identity, { peers, at: this.#now() });
  }
}

/** The account of a node's owner for what it brings for others. No address begins with `*` here: that is what tells the two apart. */
export function ownerPays(from: Member): Payer {
  return `*${from.owner}`;
}

/** The bytes of one account at one holder: of a quota its share of all copies, with room for an uneven placement. */
export function allowanceAt(quota: Quota, copies: number, members: number): (payer: Payer) => number {
  const share = Math.min(1, (unevenness * copies) / Math.max(1, members));
  return (payer) => {
    const whole = payer.startsWith('*') ? quota.othersBytes : quota.identityBytes;
    return Math.min(whole, Math.max(leastShareBytes, whole * share));
  };
}
