import type { RevocationState } from '../../node/identity/revocation.ts';
import type { RingDescriptor } from '../../node/identity/ring.ts';
import { beforeDeadline } from '../../node/overlay/deadline.ts';
import { checkBody, Handlers } from '../../node/overlay/handlers.ts';
import { MembershipListeners } from '../../node/overlay/membership-listeners.ts';
import {
  type Member,
  type MembershipChange,
  type Overlay,
  OverlayFault,
  type RequestHandler,
  type RequestOptions,
} from '../../node/overlay/overlay.ts';
import { positionOf } from '../../node/overlay/placement.ts';
import { silentLog } from '../node/overlay/fake-overlay.ts';
import type { VirtualNetwork } from './virtual-network.ts';
import type { VirtualRouting } from './virtual-routing.ts';

/** Kind, id, deadline and length of a frame, and what Noise and TCP put around it. */
const framingBytes = 60;

/** One node's view of the virtual ring, behind the interface that everything above the overlay uses. A node that starts again has a new one. */
export class VirtualOverlay implements Overlay {
  readonly self: Member;
  readonly #network: VirtualNetwork;
  readonly #handlers = new Handlers();
  readonly #listeners = new MembershipListeners(silentLog);
  /** Peers beyond the kept ones that a request has made a connection to. */
  readonly #dialled = new Set<string>();
  readonly position: Uint8Array;
  /** In a ring that is looked up: whom this node knows. Without it, it knows everyone. */
  readonly routing: VirtualRouting | undefined;
  #alive = true;

  constructor(network: VirtualNetwork, self: Member) {
    this.#network = network;
    this.self = self;
    this.routing = network.routingOf(self.peerId);
    this.position = positionOf(self.peerKey);
  }

  get ring(): RingDescriptor {
    return this.#network.ring;
  }

  members(): readonly Member[] {
    return this.routing?.members() ?? this.#network.members();
  }

  closest(key: Uint8Array, count: number): readonly Member[] {
    return (this.routing ?? this.#network.table).closest(key, count);
  }

  /** The one member table of all nodes knows everyone; where there is routing, it looks. */
  locate(key: Uint8Array, count: number): Promise<void> | undefined {
    return this.#alive ? this.routing?.locate(key, count) : undefined;
  }

  isUp(peerId: string): boolean {
    return this.#alive && (peerId === this.self.peerId || this.#network.sees(this, { self: { peerId } }));
  }

  async request(peerId: string, method: string, body: Uint8Array, options: RequestOptions): Promise<Uint8Array> {
    checkBody(body, 'the request');
    if (!this.#alive) throw new OverlayFault('unreachable', 'the overlay is stopped');
    if (!this.isUp(peerId) && !(await this.#network.dial(this, peerId)))
      throw new OverlayFault('unreachable', 'the peer is not up');
    return beforeDeadline(options, method, (signal) =>
      peerId === this.self.peerId
        ? this.#handlers.answer(method, body, this.self, signal)
        : this.#carry(peerId, method, body, signal),
    );
  }

  handle(method: string, handler: RequestHandler): void {
    this.#handlers.handle(method, handler);
  }

  onMembership(listener: (change: MembershipChange) => void): () => void {
    return this.#listeners.add(listener);
  }

  offerRevocations(bytes: Uint8Array): void {
    this.#network.revocations.offer(bytes);
  }

  revocations(): RevocationState {
    return this.#network.revocations;
  }

  async stop(): Promise<void> {
    this.die();
  }

  // What the network does to a node.

  tell(change: MembershipChange): void {
    if (this.#alive && change.member.peerId !== this.self.peerId) this.#listeners.tell(change);
  }

  get alive(): boolean {
    return this.#alive;
  }

  hasDialled(peerId: string): boolean {
    return this.#dialled.has(peerId);
  }

  meet(member: Member): void {
    if (!this.#network.sees(this, { self: member })) this.#dialled.add(member.peerId);
    this.tell({ kind: 'up', member });
  }

  lose(member: Member): void {
    this.#dialled.delete(member.peerId);
    this.tell({ kind: 'down', member });
  }

  die(): void {
    this.#alive = false;
    this.routing?.router?.stop();
    this.#dialled.clear();
    this.#listeners.clear();
  }

  /** Nothing comes back from a node that is down: the caller's deadline ends it. */
  async #carry(peerId: string, method: string, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const network = this.#network;
    await network.carry(method, method.length + body.length + framingBytes);
    const peer = network.node(peerId);
    if (peer === undefined) return never;
    const answer = await peer.#handlers.answer(method, body, this.self, signal);
    await network.carry(method, network.bytesOf(method, answer) + framingBytes);
    return network.node(peerId) === peer ? answer : never;
  }
}

const never = new Promise<Uint8Array>(() => undefined);
