import { CertificateAuthority } from '../../node/identity/authority.ts';
import { signingKeyFromSeed } from '../../node/identity/keys.ts';
import { RevocationState } from '../../node/identity/revocation.ts';
import { type Entry, MemberTable } from '../../node/overlay/member-table.ts';
import { signNodeRecord } from '../../node/overlay/node-record.ts';
import type { Member } from '../../node/overlay/overlay.ts';
import { address, testDomain } from '../node/overlay/fake-overlay.ts';
import type { SeededRandom } from './seeded-random.ts';
import { Traffic } from './traffic.ts';
import type { VirtualOverlay } from './virtual-overlay.ts';
import { nearMethod, settle, VirtualRouting } from './virtual-routing.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface LineQuality {
  /** Half of what a round trip takes. */
  readonly medianMs: number;
  /** Of the logarithm; 0.5 puts one in twenty above 2.3 times the median. */
  readonly sigma: number;
  /** Messages that have to be sent again: TCP does, after its least time-out. */
  readonly lossRate: number;
}

export const internetLines: LineQuality = { medianMs: 20, sigma: 0.5, lossRate: 0.01 };
/** RFC 6298 §2.4 would have a second; what kernels use is this. */
const resendMs = 200;
// A machine that lost power says nothing: the others find out when their next ping or request is not answered.
const noticeDownMs = 30_000;
/** Dialling and admission: a few round trips. */
const noticeUpMs = 1_000;
// Noise and admission: two certificates and two records each way.
const dialBytes = 3_000;
const certificateDays = 3_650;
const bootstrapNames = 3;
// A certificate and a record with two addresses.
const proofBytes = 600;
const numberBytes = 4;

/** Whom a node is connected to all the time. Beyond this it dials when it asks, and stays connected until one of the two goes down. */
export type Mesh =
  | { readonly kind: 'full' }
  | { readonly kind: 'some' | 'near'; readonly kept: number }
  /** As in a ring above the member table: each node knows and keeps whom its routing table has, and looks up the rest. */
  | { readonly kind: 'routed' };

/**
 * A ring of any number of nodes in one process: who is a member (one real member table, for all of them are told of everyone), who is up, who
 * has noticed, and how long a message takes. What is random comes from the seed.
 */
export class VirtualNetwork {
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly table: MemberTable;
  readonly revocations: RevocationState;
  readonly traffic = new Traffic();
  readonly #lines: LineQuality;
  readonly #mesh: Mesh;
  readonly #authority: CertificateAuthority;
  /** Who runs. */
  readonly #up = new Map<string, VirtualOverlay>();
  /** Of whom the others know that it runs, or do not know yet that it no longer does. */
  readonly #noticed = new Map<string, VirtualOverlay>();
  readonly #routings = new Map<string, VirtualRouting>();
  readonly #byNumber: Entry[] = [];
  readonly #numbers = new Map<Entry, number>();
  #members: readonly Member[] | undefined;
  #count = 0;

  constructor(time: VirtualTime, random: SeededRandom, mesh: Mesh = { kind: 'full' }, lines = internetLines) {
    this.time = time;
    this.random = random;
    this.#mesh = mesh;
    this.#lines = lines;
    this.#authority = CertificateAuthority.create(testDomain, [], time.now, random.bytes(32));
    this.revocations = new RevocationState(this.#authority.ring, this.#authority.revocations());
    this.table = new MemberTable({ ring: this.#authority.ring, revocations: this.revocations, now: time.now });
  }

  get ring() {
    return this.#authority.ring;
  }

  /** A new member with a machine and an owner of its own; down until {@link up}. */
  admit(): Member {
    const key = signingKeyFromSeed(this.random.bytes(32));
    const owner = address(`user${this.#count++}@${testDomain}`);
    const certificate = this.#authority.issueNode({ peerKey: key.public, owner, days: certificateDays });
    const record = signNodeRecord({ ring: testDomain, addresses: [], sequence: this.time.now() }, key);
    const offer = this.table.offer({ certificate: certificate.bytes, record });
    if (offer.kind === 'refused') throw new Error(offer.reason);
    this.#members = undefined;
    const { member } = offer.entry;
    if (this.#mesh.kind === 'routed') this.#admitRouted(offer.entry);
    else for (const overlay of this.#up.values()) overlay.tell({ kind: 'joined', member });
    return member;
  }

  /** It knows only those that its bootstrap list names, and is found by whom it asks. */
  #admitRouted(entry: Entry): void {
    this.#numbers.set(entry, this.#byNumber.push(entry) - 1);
    const routing = new VirtualRouting(this, entry);
    this.#routings.set(entry.peerId, routing);
    const up = [...this.#up.keys()];
    for (let named = 0; named < bootstrapNames && up.length > 0; named += 1) {
      const one = this.table.get(this.random.pick(up));
      if (one !== undefined) routing.learn(one);
    }
  }

  routingOf(peerId: string): VirtualRouting | undefined {
    return this.#routings.get(peerId);
  }

  /** All nodes know what they would after long. */
  settle(): void {
    settle([...this.#routings.values()], this);
  }

  isMember(peerId: string): boolean {
    return this.table.get(peerId) !== undefined;
  }

  /** Numbers in the place of certificates and records: see {@link bytesOf}. */
  encodeNear(near: readonly Entry[]): Uint8Array {
    const answer = Buffer.allocUnsafe(near.length * numberBytes);
    near.forEach((entry, at) => answer.writeUInt32BE(this.#numbers.get(entry) ?? 0, at * numberBytes));
    return answer;
  }

  /** What an answer would have on a real line. */
  bytesOf(method: string, answer: Uint8Array): number {
    return method === nearMethod ? (answer.length / numberBytes) * proofBytes : answer.length;
  }

  decodeNear(answer: Uint8Array): Entry[] {
    const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength);
    const named: Entry[] = [];
    for (let at = 0; at < answer.length; at += numberBytes) {
      const entry = this.#byNumber[view.getUint32(at)];
      if (entry !== undefined) named.push(entry);
    }
    return named;
  }

  /** One that a node wants to keep: they are connected, if it is up. */
  keep(from: VirtualOverlay, peerId: string): void {
    const peer = this.#noticed.get(peerId);
    if (peer !== undefined && this.#up.get(peerId) === peer && from.alive) this.#meet(from, peer);
  }

  /** Puts a node that is gone for good out of the ring, as its postmaster does. */
  revoke(member: Member): void {
    this.revocations.offer(this.#authority.revoke([member.certificate.serial]));
    const entry = this.table.get(member.peerId);
    this.table.sweep();
    this.#members = undefined;
    if (entry !== undefined) for (const routing of this.#routings.values()) routing.forget(entry);
    for (const overlay of this.#up.values()) overlay.tell({ kind: 'revoked', member });
  }

  members(): readonly Member[] {
    this.#members ??= this.table.members();
    return this.#members;
  }

  node(peerId: string): VirtualOverlay | undefined {
    return this.#up.get(peerId);
  }

  /** The node runs; a moment later it and the others know of each other. `before`: they did before the simulation began. */
  up(overlay: VirtualOverlay, before = false): void {
    const { peerId } = overlay.self;
    this.#up.set(peerId, overlay);
    if (before) {
      this.#noticed.set(peerId, overlay);
      return;
    }
    this.time.after(noticeUpMs, () => {
      if (this.#up.get(peerId) !== overlay) return;
      this.#loseSight(peerId);
      this.#noticed.set(peerId, overlay);
      for (const other of this.#noticed.values()) if (this.sees(other, overlay)) this.#meet(overlay, other);
    });
  }

  /** The machine stops in this moment, and nobody is told. `before`: it did so long ago, and everyone has noticed. */
  down(overlay: VirtualOverlay, before = false): void {
    const { peerId } = overlay.self;
    this.#up.delete(peerId);
    overlay.die();
    if (before) {
      this.#noticed.delete(peerId);
      return;
    }
    this.time.after(noticeDownMs, () => {
      if (this.#noticed.get(peerId) === overlay) this.#loseSight(peerId);
    });
  }

  /** Whether `left` has a connection to this peer, or would not know yet that it has broken. */
  sees(left: VirtualOverlay, { self: { peerId } }: { self: Pick<Member, 'peerId'> }): boolean {
    const right = this.#noticed.get(peerId);
    if (right === undefined || right === left || this.#noticed.get(left.self.peerId) !== left) return false;
    return this.#keeps(left, right) || left.hasDialled(peerId);
  }

  /** Makes a connection for a request; whether that worked. */
  async dial(from: VirtualOverlay, peerId: string): Promise<boolean> {
    await this.carry('dial', dialBytes);
    const peer = this.#noticed.get(peerId);
    if (peer === undefined || this.#up.get(peerId) !== peer) return false;
    if (!this.sees(from, peer)) this.#meet(from, peer);
    return this.sees(from, peer);
  }

  /** A message on its way. */
  async carry(method: string, bytes: number): Promise<void> {
    this.traffic.count(method, bytes);
    const { medianMs, sigma, lossRate } = this.#lines;
    const lost = this.random.next() < lossRate ? resendMs : 0;
    await this.time.sleep(this.random.logNormal(medianMs, sigma) + lost);
  }

  #keeps(left: VirtualOverlay, right: VirtualOverlay): boolean {
    const mesh = this.#mesh;
    const members = this.#count;
    if (mesh.kind === 'routed')
      return left.routing?.table.has(right.self.peerId) === true || right.routing?.table.has(left.self.peerId) === true;
    if (mesh.kind === 'full' || members <= mesh.kept) return true;
    if (mesh.kind === 'near')
      return sharedBits(left.position, right.position) >= Math.floor(Math.log2(members / mesh.kept));
    // Each keeps the first it hears of, which is anyone: one of the two wants the other. Their places decide, which are as good as drawn.
    const draw =
      ((left.position[0] ?? 0) ^ (right.position[0] ?? 0)) * 256 + ((left.position[1] ?? 0) ^ (right.position[1] ?? 0));
    return draw / 65_536 < 1 - (1 - mesh.kept / members) ** 2;
  }

  #meet(left: VirtualOverlay, right: VirtualOverlay): void {
    left.meet(right.self);
    right.meet(left.self);
  }

  #loseSight(peerId: string): void {
    const gone = this.#noticed.get(peerId);
    if (gone === undefined) return;
    const sighted = [...this.#noticed.values()].filter((other) => this.sees(other, gone));
    this.#noticed.delete(peerId);
    for (const other of sighted) other.lose(gone.self);
  }
}

function sharedBits(left: Uint8Array, right: Uint8Array): number {
  for (let at = 0; at < left.length; at += 1) {
    const difference = (left[at] ?? 0) ^ (right[at] ?? 0);
    if (difference !== 0) return at * 8 + Math.clz32(difference) - 24;
  }
  return left.length * 8;
}
