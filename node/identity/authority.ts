import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Address, Domain } from '../../policy/address.ts';
import {
  type IdentityCertificate,
  type IdentityKind,
  type NodeCertificate,
  signIdentityCertificate,
  signNodeCertificate,
} from './certificate.ts';
import { type SigningKey, seedBytes, signingKeyFromSeed } from './keys.ts';
import { nodePeerId } from './peer-id.ts';
import { encodeRevocations, type Standing, standingShape } from './revocation.ts';
import { encodeRing, maxNodesPerIdentity, nodesPerIdentity, type RingDescriptor } from './ring.ts';
import { addressShape, domainShape, serialBytes, serialShape, timeShape } from './shapes.ts';

export type Clock = () => number;

const dayMs = 86_400_000;
// Long in this form: the authority's key may lie on a machine that is off for weeks. Re-issued whenever it starts.
const listLifetimeMs = 30 * dayMs;

const issuedShape = z.strictObject({
  serial: serialShape,
  kind: z.enum(['user', 'gateway', 'list', 'service', 'node']),
  /** The certified address; for a node its owner. */
  address: addressShape,
  notAfter: timeShape,
  /** Of a node: which, so that a renewed certificate is no further node. Absent in what was issued before this was kept. */
  peerId: z.string().max(64).optional(),
});

/** What the authority must not forget; plain JSON. Losing it loses revocations, never trust: the key is elsewhere. */
export const authorityStateShape = z.strictObject({
  version: z.literal(1),
  name: domainShape,
  domains: z.array(domainShape).min(1),
  createdAt: timeShape,
  listVersion: z.int().nonnegative(),
  issued: z.array(issuedShape),
  revoked: z.array(serialShape),
  /** Absent in states of before there were any. */
  standings: z.array(standingShape).default([]),
  nodesPerIdentity: z.int().min(1).max(maxNodesPerIdentity).optional(),
});
export type AuthorityState = z.infer<typeof authorityStateShape>;
export type IssuedCertificate = z.infer<typeof issuedShape>;

/** What the authority does not certify. */
export class AuthorityFault extends Error {
  override readonly name = 'AuthorityFault';
  readonly code = 'too-many-nodes';
}

/**
 * Issues and revokes the certificates of one ring. Holds the CA key in memory; writes nothing: after each call that
 * issues or revokes, the owner stores `state()` before handing the result out.
 */
export class CertificateAuthority {
  readonly ring: RingDescriptor;
  readonly #key: SigningKey;
  readonly #seed: Uint8Array;
  readonly #now: Clock;
  readonly #state: AuthorityState;

  private constructor(seed: Uint8Array, state: AuthorityState, now: Clock) {
    this.#seed = Uint8Array.from(seed);
    this.#key = signingKeyFromSeed(seed);
    this.#state = structuredClone(state);
    this.#now = now;
    const { name, domains, createdAt, nodesPerIdentity: bound } = state;
    const setting = bound === undefined ? {} : { nodesPerIdentity: bound };
    this.ring = { name, domains, caKey: this.#key.public, createdAt, ...setting };
  }

  /** A new ring. `domains` are those it serves besides its name. Without a seed the key is fresh. */
  static create(
    name: Domain,
    domains: readonly Domain[],
    now: Clock,
    seed?: Uint8Array,
    settings: Pick<RingDescriptor, 'nodesPerIdentity'> = {},
  ): CertificateAuthority {
    const all = [...new Set([name, ...domains])];
    const state: AuthorityState = {
      version: 1,
      name,
      domains: all,
      createdAt: now(),
      listVersion: 0,
      issued: [],
      revoked: [],
      standings: [],
      ...(settings.nodesPerIdentity === undefined ? {} : { nodesPerIdentity: settings.nodesPerIdentity }),
    };
    return new CertificateAuthority(seed ?? randomBytes(seedBytes), state, now);
  }

  /** The authority of a ring that exists. `state` is checked and a ZodError says what is wrong with it. */
  static fromKey(seed: Uint8Array, state: unknown, now: Clock): CertificateAuthority {
    return new CertificateAuthority(seed, authorityStateShape.parse(state), now);
  }

  /** The secret seed of the CA key, for the key file and nothing else. */
  exportKey(): Uint8Array {
    return Uint8Array.from(this.#seed);
  }

  state(): AuthorityState {
    return structuredClone(this.#state);
  }

  ringBytes(): Uint8Array {
    return encodeRing(this.ring, this.#key);
  }

  issueIdentity(subject: {
    readonly kind: IdentityKind;
    readonly address: Address;
    readonly signingKey: Uint8Array;
    readonly sealingKey: Uint8Array;
    readonly days: number;
  }): IdentityCertificate {
    const { days, ...claims } = subject;
    const certificate = signIdentityCertificate({ ...claims, ...this.#frame(days) }, this.#key);
    this.#record(subject.kind, subject.address, certificate);
    return certificate;
  }

  /** Throws {@link AuthorityFault} when its owner has as many nodes as an identity may have. */
  issueNode(subject: {
    readonly peerKey: Uint8Array;
    readonly owner: Address;
    readonly days: number;
  }): NodeCertificate {
    const { days, ...claims } = subject;
    const peerId = nodePeerId(subject.peerKey);
    this.#checkNodesOf(subject.owner, peerId);
    const certificate = signNodeCertificate({ ...claims, ...this.#frame(days) }, this.#key);
    this.#record('node', subject.owner, certificate, peerId);
    return certificate;
  }

  /** The certificates issued and not expired; `revoked` says which of them hold no longer. */
  issued(): readonly (IssuedCertificate & { readonly revoked: boolean })[] {
    const revoked = new Set(this.#state.revoked);
    return this.#state.issued.map((entry) => ({ ...entry, revoked: revoked.has(entry.serial) }));
  }

  /** Revokes for good and returns the new signed list, to be stored and spread. */
  revoke(serials: readonly string[]): Uint8Array {
    for (const serial of serials) serialShape.parse(serial);
    this.#state.revoked = [...new Set([...this.#state.revoked, ...serials])];
    return this.revocations();
  }

  /** Whom it blocks or slows. */
  standings(): readonly Standing[] {
    return this.#state.standings;
  }

  /** Blocks or slows an address, or everybody of a domain or ring, or takes that back (`good`); the new signed list, to be stored and spread. */
  setStanding(name: string, what: 'good' | Standing['what']): Uint8Array {
    const others = this.#state.standings.filter((one) => one.name !== name);
    this.#state.standings = what === 'good' ? others : [...others, { name, what }];
    return this.revocations();
  }

  /** A fresh signed list with the next version; nothing else changes. Certificates that expired leave it. */
  revocations(): Uint8Array {
    const now = this.#now();
    this.#forgetExpired(now);
    this.#state.listVersion += 1;
    const list = {
      version: this.#state.listVersion,
      issuedAt: now,
      nextUpdate: now + listLifetimeMs,
      serials: this.#state.revoked,
      standings: this.#state.standings,
    };
    return encodeRevocations(list, this.ring, this.#key);
  }

  #frame(days: number): { serial: string; ring: Domain; notBefore: number; notAfter: number } {
    const now = this.#now();
    const serial = randomBytes(serialBytes).toString('hex');
    return { serial, ring: this.ring.name, notBefore: now, notAfter: now + Math.round(days * dayMs) };
  }

  #checkNodesOf(owner: Address, fresh: string): void {
    const now = this.#now();
    const most = nodesPerIdentity(this.ring);
    const nodes = this.issued().filter((one) => one.kind === 'node' && one.address === owner);
    const held = nodes.filter(({ revoked, notAfter, peerId }) => !revoked && notAfter >= now && peerId !== fresh);
    const count = new Set(held.map(({ peerId, serial }) => peerId ?? serial)).size;
    if (count < most) return;
    throw new AuthorityFault(
      `${owner} has ${count} nodes, and an identity of this ring may have ${most}; give the machine to another user (node invite --user ADDRESS), or revoke one that is gone (node list, node revoke SERIAL)`,
    );
  }

  #record(
    kind: IssuedCertificate['kind'],
    address: Address,
    made: { serial: string; notAfter: number },
    peerId?: string,
  ): void {
    const node = peerId === undefined ? {} : { peerId };
    this.#state.issued.push({ serial: made.serial, kind, address, notAfter: made.notAfter, ...node });
  }

  #forgetExpired(now: number): void {
    // A day of grace, so that no verifier with a slow clock sees a revoked certificate valid again.
    const expired = new Set(this.#state.issued.filter((one) => one.notAfter + dayMs < now).map((one) => one.serial));
    this.#state.issued = this.#state.issued.filter((one) => !expired.has(one.serial));
    this.#state.revoked = this.#state.revoked.filter((serial) => !expired.has(serial));
  }
}
