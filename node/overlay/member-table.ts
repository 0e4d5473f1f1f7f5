import { equalBytes } from '../identity/canonical.ts';
import { type CertificateCheck, checkNodeCertificate, type NodeCertificate } from '../identity/certificate.ts';
import type { RevocationState } from '../identity/revocation.ts';
import { nodesPerIdentity, type RingDescriptor } from '../identity/ring.ts';
import { networkOf } from './address.ts';
import { readNodeRecord } from './node-record.ts';
import { NodesByOwner } from './nodes-by-owner.ts';
import type { Clock, Member } from './overlay.ts';
import { type Placed, positionOf } from './placement.ts';
import { PositionIndex } from './position-index.ts';
import { type Contact, defaultLimits, type RoutingLimits, RoutingTable } from './routing-table.ts';

/** What proves a member: the authority's certificate and the node's own record, as signed. */
export type MemberProof = { readonly certificate: Uint8Array; readonly record: Uint8Array };

/** A member with its proof and place. `network`: the public address prefix that it says to stand in. */
export type Entry = Placed &
  Contact & { readonly proof: MemberProof; readonly sequence: number; readonly network: string | undefined };

/**
 * What became of a proof that someone offered. `passing`: certified and remembered as long as there is room, but not one whom this node keeps
 * in a ring larger than its table. `displaced`: who is a member no longer because the identity has newer nodes than that.
 */
export type Offer =
  | { readonly kind: 'joined' | 'renewed' | 'known' | 'passing'; readonly entry: Entry; readonly displaced?: Member }
  /** `forged`: no honest member passes this on, whatever its clock and its revocation list say. */
  | { readonly kind: 'refused'; readonly reason: string; readonly forged: boolean };

export interface TableBounds {
  /** Beyond so many a ring is large: the table keeps this node's neighbourhood and some of each distance, and forgets others again. */
  readonly members: number;
  readonly routing: RoutingLimits;
}

// The bound of DESIGN §6: beyond it a ring needs lookups. About 1 KiB each, so 5 MiB.
export const maxMembers = 5_000;
export const defaultBounds: TableBounds = { members: maxMembers, routing: defaultLimits };

export interface TableParts {
  readonly ring: RingDescriptor;
  readonly revocations: RevocationState;
  readonly now: Clock;
  /** The key of the node whose table it is; without one, nothing is ever forgotten (a view of the whole ring). */
  readonly selfKey?: Uint8Array;
  readonly bounds?: TableBounds;
  /** Whether a node is connected now: such a one is not forgotten. */
  readonly inUse?: (peerId: string) => boolean;
}

/**
 * The certified nodes of the ring that this node has heard of, with their newest records: all of them up to a bound, beyond it those whom the
 * routing table keeps and, while there is room, others that were met or found. The network is elsewhere.
 */
export class MemberTable {
  readonly #parts: TableParts;
  /** In the order in which they were last heard of. */
  readonly #entries = new Map<string, Entry>();
  readonly #index = new PositionIndex<Entry>();
  readonly #owned = new NodesByOwner();
  readonly #self: Uint8Array | undefined;
  readonly #bound: number;
  readonly routing: RoutingTable<Entry>;
  #large = false;

  constructor(parts: TableParts) {
    const { selfKey, bounds = defaultBounds } = parts;
    this.#parts = parts;
    this.#self = selfKey === undefined ? undefined : positionOf(selfKey);
    this.#bound = selfKey === undefined ? Number.POSITIVE_INFINITY : bounds.members;
    this.routing = new RoutingTable<Entry>(this.#self ?? new Uint8Array(32), bounds.routing);
  }

  /** Whether the ring is larger than this table, so that `closest` is a guess away from this node's neighbourhood. */
  get large(): boolean {
    return this.#large;
  }

  /** The ring is larger (another member said so) or, by how densely it is settled, not any more. */
  setLarge(large: boolean): void {
    this.#large = large || this.#entries.size > this.#bound;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bound(): number {
    return this.#bound;
  }

  /** Judges a node certificate now. */
  check(certificate: Uint8Array): CertificateCheck<NodeCertificate> {
    const { ring, revocations, now } = this.#parts;
    return checkNodeCertificate(certificate, { ring, revocations, now: now() });
  }

  get(peerId: string): Entry | undefined {
    return this.#entries.get(peerId);
  }

  /** Whether this one is kept, and not just remembered while there is room. */
  keeps({ peerId, position }: Pick<Entry, 'peerId' | 'position'>): boolean {
    return !this.#large || this.routing.has(peerId) || this.#isSelf(position);
  }

  entries(): IterableIterator<Entry> {
    return this.#entries.values();
  }

  /** Those that are kept. */
  *kept(): Generator<Entry> {
    for (const entry of this.#entries.values()) if (this.keeps(entry) && this.#holds(entry.member)) yield entry;
  }

  members(): readonly Member[] {
    return Array.from(this.kept(), ({ member }) => member);
  }

  /** Of all that are known at this moment. */
  closest(key: Uint8Array, count: number): readonly Member[] {
    return this.nearest(key, count).map(({ member }) => member);
  }

  nearest(key: Uint8Array, count: number): readonly Entry[] {
    return this.#index.nearest(key, count, ({ member }) => this.#holds(member));
  }

  /**
   * Takes a member over, or its newer record or certificate. `unknown` certificates (revocation list missing or out of
   * date) are taken: a ring must outlive the absence of its authority.
   */
  offer(proof: MemberProof): Offer {
    const check = this.check(proof.certificate);
    if (check.kind === 'invalid' || check.kind === 'revoked')
      return { kind: 'refused', reason: check.reason, forged: check.kind === 'invalid' && check.reason !== 'expired' };
    const { certificate } = check;
    const old = this.#entries.get(certificate.peerId);
    // In lookups the same proofs come again and again; a signature costs a tenth of a millisecond.
    if (old !== undefined && equalBytes(old.proof.record, proof.record) && !isNewer(certificate, old.sequence, old))
      return this.#touch(old);
    const record = readNodeRecord(proof.record, certificate.peerKey);
    if (record === undefined || record.ring !== this.#parts.ring.name)
      return { kind: 'refused', reason: 'no valid node record', forged: true };
    if (old !== undefined && !isNewer(certificate, record.sequence, old)) return this.#touch(old);
    const crowd = this.#owned.surplus(certificate, nodesPerIdentity(this.#parts.ring), (peerId) =>
      this.#isCurrent(peerId),
    );
    if (crowd === certificate.peerId)
      return {
        kind: 'refused',
        reason: `${certificate.owner} has ${nodesPerIdentity(this.#parts.ring)} newer nodes already`,
        forged: false,
      };
    const displaced = crowd === undefined ? undefined : this.#remove(crowd)?.member;
    const entry = this.#put(certificate, record, proof, old);
    this.#forgetOldest();
    const kind = !this.keeps(entry) ? 'passing' : old === undefined ? 'joined' : 'renewed';
    return { kind, entry, ...(displaced === undefined ? {} : { displaced }) };
  }

  #touch(entry: Entry): Offer {
    this.#entries.delete(entry.peerId);
    this.#entries.set(entry.peerId, entry);
    // It may have been dropped from the routing table for another that is gone by now.
    if (this.#large) this.routing.offer(entry);
    return { kind: 'known', entry };
  }

  /** Makes room, when a ring grows beyond the bound: who was not heard of for longest, is not kept and not connected, goes. */
  #forgetOldest(): void {
    if (this.#entries.size <= this.#bound) return;
    this.#large = true;
    for (const entry of this.#entries.values()) {
      if (this.keeps(entry) || this.#parts.inUse?.(entry.peerId) === true) continue;
      this.#remove(entry.peerId);
      return;
    }
  }

  #remove(peerId: string): Entry | undefined {
    const entry = this.#entries.get(peerId);
    if (entry === undefined) return undefined;
    this.#entries.delete(peerId);
    this.#index.remove(entry.position);
    this.#owned.remove(entry.member);
    this.routing.remove(peerId);
    return entry;
  }

  /** Removes and returns those who are members no longer: revoked, or their certificate expired. */
  sweep(): readonly { readonly member: Member; readonly revoked: boolean }[] {
    const gone = [...this.#entries.values()].filter(({ member }) => !this.#holds(member));
    for (const { peerId } of gone) this.#remove(peerId);
    const { revocations } = this.#parts;
    return gone.map(({ member }) => ({ member, revoked: revocations.isRevoked(member.certificate.serial) }));
  }

  #put(
    certificate: NodeCertificate,
    record: { addresses: readonly string[]; sequence: number },
    proof: MemberProof,
    old: Entry | undefined,
  ): Entry {
    const { peerId, peerKey, owner } = certificate;
    // A newer record may come with an older certificate and the other way round: keep the newer of each.
    const keepCertificate = old !== undefined && old.member.certificate.notAfter > certificate.notAfter;
    const keepRecord = old !== undefined && old.sequence > record.sequence;
    const member: Member = {
      peerId,
      peerKey,
      owner: keepCertificate ? old.member.owner : owner,
      addresses: keepRecord ? old.member.addresses : record.addresses,
      certificate: keepCertificate ? old.member.certificate : certificate,
    };
    const entry: Entry = {
      peerId,
      owner: member.owner,
      network: networkOf(member.addresses),
      member,
      position: old?.position ?? positionOf(peerKey),
      sequence: keepRecord ? old.sequence : record.sequence,
      proof: {
        certificate: keepCertificate ? old.proof.certificate : Uint8Array.from(proof.certificate),
        record: keepRecord ? old.proof.record : Uint8Array.from(proof.record),
      },
    };
    if (old !== undefined) this.#owned.remove(old.member);
    this.#owned.add(member);
    this.#entries.delete(peerId);
    this.#entries.set(peerId, entry);
    this.#index.put(entry);
    if (this.#self !== undefined) this.routing.offer(entry);
    return entry;
  }

  #isSelf(position: Uint8Array): boolean {
    return this.#self !== undefined && equalBytes(this.#self, position);
  }

  #isCurrent(peerId: string): boolean {
    const entry = this.#entries.get(peerId);
    return entry !== undefined && this.#holds(entry.member);
  }

  /** The signature was checked when the entry was made: time and the list are what can change. */
  #holds({ certificate }: Member): boolean {
    const { now, revocations } = this.#parts;
    return now() <= certificate.notAfter && !revocations.isRevoked(certificate.serial);
  }
}

function isNewer(certificate: NodeCertificate, sequence: number, old: Entry): boolean {
  return sequence > old.sequence || certificate.notAfter > old.member.certificate.notAfter;
}
