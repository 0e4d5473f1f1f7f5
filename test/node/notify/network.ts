import { createHash } from 'node:crypto';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import type { IdentityCertificate, IdentityKind, Trust } from '../../../node/identity/certificate.ts';
import { generateIdentityKeys, type IdentityKeys } from '../../../node/identity/keys.ts';
import { RevocationState } from '../../../node/identity/revocation.ts';
import {
  type Member,
  type MembershipChange,
  type Overlay,
  OverlayFault,
  type RequestHandler,
} from '../../../node/overlay/overlay.ts';
import type { DirectoryEntry, IdentityRecord, Lookup } from '../../../node/store/directory.ts';
import type { Address, Domain } from '../../../policy/address.ts';

export const quiet = { debug() {}, info() {}, warn() {}, error() {} };

export interface Person {
  readonly certificate: IdentityCertificate;
  readonly keys: IdentityKeys;
}

interface Seat {
  readonly member: Member;
  readonly handlers: Map<string, RequestHandler>;
  readonly listeners: Set<(change: MembershipChange) => void>;
  up: boolean;
}

/** What a test does to a request on its way: nothing, another answer, or a throw. */
export type Meddler = (
  request: { from: string; to: string; method: string; body: Uint8Array },
  next: (body: Uint8Array) => Promise<Uint8Array>,
) => Promise<Uint8Array>;

/** A ring in memory: real certificates, an authority, members that come and go, and a clock that tests set. */
export class Network {
  now = Date.UTC(2026, 10, 23);
  readonly clock = (): number => this.now;
  readonly authority: CertificateAuthority;
  readonly revocations: RevocationState;
  readonly directory = new Map<Address, Lookup>();
  meddle: Meddler | undefined;
  readonly #seats = new Map<string, Seat>();

  constructor() {
    this.authority = CertificateAuthority.create('example.org' as Domain, [], this.clock);
    this.revocations = new RevocationState(this.authority.ring);
    this.revocations.offer(this.authority.revocations());
  }

  trust = (): Trust => ({ ring: this.authority.ring, revocations: this.revocations, now: this.now });

  /** A certified identity that the directory knows. */
  person(name: string, contacts: readonly Overlay[] = [], kind: IdentityKind = 'user'): Person {
    const keys = generateIdentityKeys();
    const address = `${name}@example.org` as Address;
    const keysOf = { signingKey: keys.signing.public, sealingKey: keys.sealing.public };
    const certificate = this.authority.issueIdentity({ kind, address, ...keysOf, days: 365 });
    const record: IdentityRecord = {
      address,
      version: 1,
      contacts: contacts.map((overlay) => overlay.self.peerId),
      publishedAt: this.now,
    };
    this.directory.set(address, { kind: 'found', certificate, record });
    return { certificate, keys };
  }

  readonly store = {
    lookupIdentity: async (address: Address): Promise<Lookup> => this.directory.get(address) ?? { kind: 'none' },
    publishIdentity: async (_entry: DirectoryEntry): Promise<{ copies: number }> => ({ copies: 1 }),
  };

  overlay(owner = 'alice'): Overlay {
    const keys = generateIdentityKeys();
    const owned = `${owner}@example.org` as Address;
    const certificate = this.authority.issueNode({ peerKey: keys.signing.public, owner: owned, days: 365 });
    const { peerId, peerKey } = certificate;
    const seat: Seat = {
      member: { peerId, peerKey, owner: owned, addresses: [], certificate },
      handlers: new Map(),
      listeners: new Set(),
      up: true,
    };
    this.#seats.set(peerId, seat);
    return this.#overlayOf(seat);
  }

  #overlayOf(seat: Seat): Overlay {
    return {
      self: seat.member,
      ring: this.authority.ring,
      members: () => [...this.#seats.values()].map(({ member }) => member),
      closest: (key, count) =>
        [...this.#seats.values()]
          .map(({ member }) => ({ member, distance: distance(key, member.peerKey) }))
          .sort((a, b) => Buffer.compare(a.distance, b.distance))
          .slice(0, count)
          .map(({ member }) => member),
      locate: () => undefined,
      isUp: (peerId) => peerId === seat.member.peerId || (seat.up && this.#seats.get(peerId)?.up === true),
      request: async (peerId, method, body) => this.#request(seat, peerId, method, body),
      handle: (method, handler) => {
        seat.handlers.set(method, handler);
      },
      onMembership: (listener) => {
        seat.listeners.add(listener);
        return () => seat.listeners.delete(listener);
      },
      offerRevocations: (bytes) => {
        this.revocations.offer(bytes);
      },
      revocations: () => this.revocations,
      stop: async () => {
        this.set(seat.member.peerId, false);
      },
    };
  }

  async #request(from: Seat, to: string, method: string, body: Uint8Array): Promise<Uint8Array> {
    const deliver = async (changed: Uint8Array): Promise<Uint8Array> => {
      const seat = this.#seats.get(to);
      if (seat === undefined || !seat.up || !from.up) throw new OverlayFault('unreachable', 'it is down');
      const handler = seat.handlers.get(method);
      if (handler === undefined) throw new OverlayFault('refused', `no method ${method}`);
      await Promise.resolve();
      try {
        return Uint8Array.from(await handler(Uint8Array.from(changed), from.member, new AbortController().signal));
      } catch (error) {
        throw new OverlayFault('refused', error instanceof Error ? error.message : 'it threw', error);
      }
    };
    return this.meddle === undefined
      ? deliver(body)
      : this.meddle({ from: from.member.peerId, to, method, body }, deliver);
  }

  /** The machine has slept, and its node says so to its floors. */
  wake(peerId: string): void {
    const seat = this.#seats.get(peerId);
    if (seat !== undefined) for (const listener of seat.listeners) listener({ kind: 'woke', member: seat.member });
  }

  set(peerId: string, up: boolean): void {
    const seat = this.#seats.get(peerId);
    if (seat === undefined || seat.up === up) return;
    seat.up = up;
    for (const other of this.#seats.values()) {
      if (other === seat || !other.up) continue;
      for (const listener of other.listeners) listener({ kind: up ? 'up' : 'down', member: seat.member });
      if (up) for (const listener of seat.listeners) listener({ kind: 'up', member: other.member });
    }
  }
}

function distance(key: Uint8Array, peerKey: Uint8Array): Buffer {
  const place = createHash('sha256').update(peerKey).digest();
  return place.map((byte, at) => byte ^ (key[at] ?? 0)) as Buffer;
}
