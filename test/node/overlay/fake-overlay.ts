import { randomBytes } from 'node:crypto';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import type { NodeCertificate } from '../../../node/identity/certificate.ts';
import { generateIdentityKeys, signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { RevocationState } from '../../../node/identity/revocation.ts';
import type { RingDescriptor } from '../../../node/identity/ring.ts';
import { beforeDeadline } from '../../../node/overlay/deadline.ts';
import { checkBody, Handlers } from '../../../node/overlay/handlers.ts';
import { MembershipListeners } from '../../../node/overlay/membership-listeners.ts';
import {
  type Clock,
  type Log,
  type Member,
  type MembershipChange,
  type Overlay,
  OverlayFault,
  type RequestHandler,
  type RequestOptions,
} from '../../../node/overlay/overlay.ts';
import { nearest, positionOf } from '../../../node/overlay/placement.ts';
import { type Address, type Domain, parseAddress, parseDomain } from '../../../policy/address.ts';

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

export const testDomain = parseDomain('example.org') as Domain;

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed.kind === 'invalid') throw new Error(parsed.reason);
  return parsed.address;
}

/** What happens to one request on its way: delivered, lost before the handler sees it, or its answer is lost. */
export type Fate = 'deliver' | 'lose-request' | 'lose-answer';
export type Passing = { readonly from: string; readonly to: string; readonly method: string };

export interface FakeNode {
  readonly overlay: FakeOverlay;
  readonly seed: Uint8Array;
  readonly certificate: NodeCertificate;
}

/**
 * A ring in memory behind the Overlay interface, held to the same table as the real one (overlay-contract.ts). Nodes can
 * be killed, silenced, partitioned and started again; single requests can be lost. Deadlines are real timers.
 */
export class FakeOverlayNetwork {
  readonly ca: CertificateAuthority;
  readonly ring: RingDescriptor;
  /** Decides the fate of each request; change it at any time. */
  fate: (passing: Passing) => Fate = () => 'deliver';
  readonly now: Clock;
  readonly #nodes = new Map<string, FakeOverlay>();
  readonly #groups = new Map<string, number>();
  readonly #silent = new Set<string>();
  #list: Uint8Array;

  constructor(now: Clock = Date.now) {
    this.now = now;
    this.ca = CertificateAuthority.create(testDomain, [], now);
    this.ring = this.ca.ring;
    this.#list = this.ca.revocations();
  }

  /** A new member, up at once. Its owner is `user<n>@example.org` unless told. */
  add(owner: Address = address(`user${this.#nodes.size}@example.org`)): FakeNode {
    const seed = Uint8Array.from(randomBytes(32));
    const certificate = this.ca.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 365 });
    return { overlay: this.#enter(certificate), seed, certificate };
  }

  addMany(count: number): FakeNode[] {
    return Array.from({ length: count }, () => this.add());
  }

  /** Ends the node as SIGKILL would: requests to and from it break, the others see it go down. */
  kill(peerId: string): void {
    this.#node(peerId).die();
    this.refresh();
  }

  /** A fresh overlay of a node that was killed or stopped, without handlers: the same member, up again. */
  restart(peerId: string): FakeOverlay {
    const old = this.#node(peerId);
    old.die();
    this.#silent.delete(peerId);
    return this.#enter(old.self.certificate);
  }

  /** As SIGSTOP does: still looks up, but nothing sent to it or by it arrives. */
  silence(peerId: string, silent = true): void {
    if (silent) this.#silent.add(peerId);
    else this.#silent.delete(peerId);
  }

  /** Only nodes of one group reach each other; nodes that no group names are in a group of their own. */
  partition(...groups: readonly (readonly string[])[]): void {
    this.#groups.clear();
    groups.forEach((group, index) => {
      for (const peerId of group) this.#groups.set(peerId, index + 1);
    });
    this.refresh();
  }

  heal(): void {
    this.#groups.clear();
    this.refresh();
  }

  async stop(): Promise<void> {
    for (const node of this.#nodes.values()) await node.stop();
  }

  // What the nodes need from the network.

  nodes(): IterableIterator<FakeOverlay> {
    return this.#nodes.values();
  }

  node(peerId: string): FakeOverlay | undefined {
    return this.#nodes.get(peerId);
  }

  linked(from: string, to: string): boolean {
    if (from === to) return true;
    const [left, right] = [this.#nodes.get(from), this.#nodes.get(to)];
    if (left === undefined || right === undefined || !left.alive || !right.alive) return false;
    return left.trusts(right) && right.trusts(left) && this.#groups.get(from) === this.#groups.get(to);
  }

  fateOf(passing: Passing): Fate {
    if (passing.from !== passing.to && (this.#silent.has(passing.from) || this.#silent.has(passing.to))) {
      return 'lose-request';
    }
    return this.fate(passing);
  }

  spread(from: string, list: Uint8Array): void {
    this.#list = list;
    for (const node of this.#nodes.values()) {
      if (node.self.peerId !== from && this.linked(from, node.self.peerId)) node.offerRevocations(list);
    }
    this.refresh();
  }

  refresh(): void {
    for (const node of this.#nodes.values()) node.noticeLinks();
  }

  #enter(certificate: NodeCertificate): FakeOverlay {
    const overlay = new FakeOverlay(this, certificate, this.#list);
    this.#nodes.set(certificate.peerId, overlay);
    for (const node of this.#nodes.values()) node.noticeMember(overlay.self);
    this.refresh();
    return overlay;
  }

  #node(peerId: string): FakeOverlay {
    const node = this.#nodes.get(peerId);
    if (node === undefined) throw new Error(`no node ${peerId}`);
    return node;
  }
}

export class FakeOverlay implements Overlay {
  readonly self: Member;
  readonly ring: RingDescriptor;
  alive = true;
  readonly #network: FakeOverlayNetwork;
  readonly #handlers = new Handlers();
  readonly #listeners = new MembershipListeners(silentLog);
  readonly #revocations: RevocationState;
  readonly #known = new Map<string, Member>();
  readonly #up = new Set<string>();
  readonly #broken = new Map<string, Set<AbortController>>();

  constructor(network: FakeOverlayNetwork, certificate: NodeCertificate, list: Uint8Array) {
    this.#network = network;
    this.ring = network.ring;
    this.#revocations = new RevocationState(network.ring, list);
    const { peerId, peerKey, owner } = certificate;
    this.self = { peerId, peerKey, owner, addresses: [`/memory/${peerId}`], certificate };
    for (const node of network.nodes()) this.#known.set(node.self.peerId, node.self);
    this.#known.set(peerId, this.self);
  }

  members(): readonly Member[] {
    return [...this.#known.values()].filter((member) => this.#certified(member));
  }

  closest(key: Uint8Array, count: number): readonly Member[] {
    const placed = this.members().map((member) => ({ member, position: positionOf(member.peerKey) }));
    return nearest(placed, key, count);
  }

  /** Everyone is known and connected who can be. */
  locate(): undefined {
    return undefined;
  }

  isUp(peerId: string): boolean {
    return this.alive && this.#network.linked(this.self.peerId, peerId);
  }

  async request(peerId: string, method: string, body: Uint8Array, options: RequestOptions): Promise<Uint8Array> {
    checkBody(body, 'the request');
    if (!this.isUp(peerId)) throw new OverlayFault('unreachable', `${peerId} is not up`);
    const lost = new AbortController();
    this.#track(peerId, lost);
    try {
      return await beforeDeadline(options, `${method} at ${peerId}`, (signal) =>
        this.#carry(peerId, method, Uint8Array.from(body), AbortSignal.any([signal, lost.signal]), lost.signal),
      );
    } finally {
      this.#broken.get(peerId)?.delete(lost);
    }
  }

  /** Requests of this node that are not answered yet. */
  get asking(): number {
    return [...this.#broken.values()].reduce((sum, requests) => sum + requests.size, 0);
  }

  handle(method: string, handler: RequestHandler): void {
    this.#handlers.handle(method, handler);
  }

  onMembership(listener: (change: MembershipChange) => void): () => void {
    return this.#listeners.add(listener);
  }

  offerRevocations(bytes: Uint8Array): void {
    if (this.#revocations.offer(bytes) !== 'newer') return;
    for (const member of this.#known.values()) {
      if (member.peerId === this.self.peerId || !this.#revocations.isRevoked(member.certificate.serial)) continue;
      this.#known.delete(member.peerId);
      const wasUp = this.#up.has(member.peerId);
      this.#lose(member);
      if (wasUp) this.#listeners.tell({ kind: 'down', member });
      this.#listeners.tell({ kind: 'revoked', member });
    }
    this.#network.spread(this.self.peerId, bytes);
  }

  revocations(): RevocationState {
    return this.#revocations;
  }

  async stop(): Promise<void> {
    this.#listeners.clear();
    this.die();
    this.#network.refresh();
  }

  /** Answers a request that another node carried here. */
  answer(method: string, body: Uint8Array, from: Member, signal: AbortSignal): Promise<Uint8Array> {
    return this.#handlers.answer(method, body, from, signal);
  }

  trusts(other: FakeOverlay): boolean {
    return this.#certified(other.self);
  }

  die(): void {
    this.alive = false;
    this.#up.clear();
    for (const peerId of this.#broken.keys()) this.#drop(peerId);
  }

  noticeMember(member: Member): void {
    if (!this.alive || member.peerId === this.self.peerId || this.#known.has(member.peerId)) return;
    this.#known.set(member.peerId, member);
    this.#listeners.tell({ kind: 'joined', member });
  }

  /** Compares who is reachable now with who was, and says what changed. */
  noticeLinks(): void {
    for (const member of this.#known.values()) {
      if (member.peerId === this.self.peerId) continue;
      const up = this.isUp(member.peerId);
      if (up === this.#up.has(member.peerId)) continue;
      if (up) this.#up.add(member.peerId);
      else this.#lose(member);
      this.#listeners.tell({ kind: up ? 'up' : 'down', member });
    }
  }

  #lose(member: Member): void {
    this.#up.delete(member.peerId);
    this.#drop(member.peerId);
  }

  async #carry(
    to: string,
    method: string,
    body: Uint8Array,
    signal: AbortSignal,
    lost: AbortSignal,
  ): Promise<Uint8Array> {
    await new Promise((resolve) => setImmediate(resolve));
    const broken = new OverlayFault('unreachable', `the connection to ${to} broke`);
    const peer = this.#network.node(to);
    if (lost.aborted || peer === undefined) throw broken;
    const { promise: breaks, reject } = Promise.withResolvers<never>();
    lost.addEventListener('abort', () => reject(broken), { once: true });
    const fate = this.#network.fateOf({ from: this.self.peerId, to, method });
    if (fate === 'lose-request') return breaks;
    const answered = peer.answer(method, body, this.self, signal);
    const answer = await Promise.race([answered, breaks]);
    return fate === 'lose-answer' ? breaks : Uint8Array.from(answer);
  }

  #certified(member: Member): boolean {
    // The network itself issued every certificate: what is left to judge is time and revocation.
    const { notAfter, serial } = member.certificate;
    return this.#network.now() <= notAfter && !this.#revocations.isRevoked(serial);
  }

  #track(peerId: string, lost: AbortController): void {
    const all = this.#broken.get(peerId) ?? new Set();
    this.#broken.set(peerId, all.add(lost));
  }

  #drop(peerId: string): void {
    for (const lost of this.#broken.get(peerId) ?? []) lost.abort();
    this.#broken.delete(peerId);
  }
}

/** Keys and certificate of a user of the ring, for tests of what stands on the overlay. */
export function issueUser(ca: CertificateAuthority, who: string) {
  const keys = generateIdentityKeys();
  const certificate = ca.issueIdentity({
    kind: 'user',
    address: address(who),
    signingKey: keys.signing.public,
    sealingKey: keys.sealing.public,
    days: 365,
  });
  return { keys, certificate };
}
