import { type CertificateCheck, checkNodeCertificate, type NodeCertificate } from '../identity/certificate.ts';
import type { RevocationState } from '../identity/revocation.ts';
import type { RingDescriptor } from '../identity/ring.ts';
import { readNodeRecord } from './node-record.ts';
import type { Clock, Member } from './overlay.ts';
import { type Placed, positionOf } from './placement.ts';
import { PositionIndex } from './position-index.ts';

/** What proves a member: the authority's certificate and the node's own record, as signed. */
export type MemberProof = { readonly certificate: Uint8Array; readonly record: Uint8Array };

export type Entry = Placed & { readonly proof: MemberProof; readonly sequence: number };

/** What became of a proof that someone offered. */
export type Offer =
  | { readonly kind: 'joined' | 'renewed' | 'known'; readonly entry: Entry }
  | { readonly kind: 'refused'; readonly reason: string };

// The bound of DESIGN §6: beyond it a ring needs lookups. About 1 KiB each, so 5 MiB.
export const maxMembers = 5_000;

/** All certified nodes of the ring that this node has heard of, with their newest records. Bounded; the network is elsewhere. */
export class MemberTable {
  readonly #ring: RingDescriptor;
  readonly #revocations: RevocationState;
  readonly #now: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #index = new PositionIndex<Entry>();

  constructor(ring: RingDescriptor, revocations: RevocationState, now: Clock) {
    this.#ring = ring;
    this.#revocations = revocations;
    this.#now = now;
  }

  /** Judges a node certificate now. */
  check(certificate: Uint8Array): CertificateCheck<NodeCertificate> {
    return checkNodeCertificate(certificate, { ring: this.#ring, revocations: this.#revocations, now: this.#now() });
  }

  get(peerId: string): Entry | undefined {
    return this.#entries.get(peerId);
  }

  entries(): IterableIterator<Entry> {
    return this.#entries.values();
  }

  members(): readonly Member[] {
    return [...this.#current()].map(({ member }) => member);
  }

  closest(key: Uint8Array, count: number): readonly Member[] {
    return this.#index.nearest(key, count, ({ member }) => this.#holds(member)).map(({ member }) => member);
  }

  /**
   * Takes a member over, or its newer record or certificate. `unknown` certificates (revocation list missing or out of
   * date) are taken: a ring must outlive the absence of its authority.
   */
  offer(proof: MemberProof): Offer {
    const check = this.check(proof.certificate);
    if (check.kind === 'invalid' || check.kind === 'revoked') return { kind: 'refused', reason: check.reason };
    const { certificate } = check;
    const record = readNodeRecord(proof.record, certificate.peerKey);
    if (record === undefined || record.ring !== this.#ring.name)
      return { kind: 'refused', reason: 'no valid node record' };
    const old = this.#entries.get(certificate.peerId);
    if (old === undefined && this.#entries.size >= maxMembers)
      return { kind: 'refused', reason: 'the member table is full' };
    if (old !== undefined && !isNewer(certificate, record.sequence, old)) return { kind: 'known', entry: old };
    return { kind: old === undefined ? 'joined' : 'renewed', entry: this.#put(certificate, record, proof, old) };
  }

  /** Removes and returns those who are members no longer: revoked, or their certificate expired. */
  sweep(): readonly { readonly member: Member; readonly revoked: boolean }[] {
    const gone = [...this.#entries.values()].filter(({ member }) => !this.#holds(member));
    for (const { member, position } of gone) {
      this.#entries.delete(member.peerId);
      this.#index.remove(position);
    }
    return gone.map(({ member }) => ({ member, revoked: this.#revocations.isRevoked(member.certificate.serial) }));
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
    const entry: Entry = {
      member: {
        peerId,
        peerKey,
        owner: keepCertificate ? old.member.owner : owner,
        addresses: keepRecord ? old.member.addresses : record.addresses,
        certificate: keepCertificate ? old.member.certificate : certificate,
      },
      position: old?.position ?? positionOf(peerKey),
      sequence: keepRecord ? old.sequence : record.sequence,
      proof: {
        certificate: keepCertificate ? old.proof.certificate : Uint8Array.from(proof.certificate),
        record: keepRecord ? old.proof.record : Uint8Array.from(proof.record),
      },
    };
    this.#entries.set(peerId, entry);
    this.#index.put(entry);
    return entry;
  }

  *#current(): Generator<Entry> {
    for (const entry of this.#entries.values()) if (this.#holds(entry.member)) yield entry;
  }

  /** The signature was checked when the entry was made: time and the list are what can change. */
  #holds({ certificate }: Member): boolean {
    return this.#now() <= certificate.notAfter && !this.#revocations.isRevoked(certificate.serial);
  }
}

function isNewer(certificate: NodeCertificate, sequence: number, old: Entry): boolean {
  return sequence > old.sequence || certificate.notAfter > old.member.certificate.notAfter;
}
