import type { Connection } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { signingKeyFromSeed } from '../identity/keys.ts';
import { RevocationState } from '../identity/revocation.ts';
import type { RingDescriptor } from '../identity/ring.ts';
import { Admission } from './admission.ts';
import { bootstrapByPeer } from './bootstrap.ts';
import type { Channel, Channels, FrameVerdict } from './channel.ts';
import { type Conduct, noConduct } from './conduct.ts';
import { beforeDeadline } from './deadline.ts';
import { DialPlaces } from './dial-places.ts';
import { Dialer } from './dialer.ts';
import { Gate } from './gate.ts';
import { Gossip } from './gossip.ts';
import { GossipChannels, Offences } from './gossip-channels.ts';
import { checkBody, Handlers } from './handlers.ts';
import { createHost, type Host, protocolsOf } from './host.ts';
import { Locator } from './locator.ts';
import { type Entry, MemberTable } from './member-table.ts';
import { Membership } from './membership.ts';
import { MembershipListeners } from './membership-listeners.ts';
import type { OverlayOptions } from './options.ts';
import {
  type Log,
  type Member,
  type MembershipChange,
  type Overlay,
  OverlayFault,
  type RequestHandler,
  type RequestOptions,
} from './overlay.ts';
import { OwnRecord } from './own-record.ts';
import type { PeerLine } from './peer-line.ts';
import { maxRequestStreams, Peers } from './peers.ts';
import { isRelayed, Relay } from './relay.ts';
import { serveRequests } from './request-server.ts';
import { type Remembered, TableFile } from './table-file.ts';
import { WakeWatch } from './wake.ts';

// Certificates expire and addresses change without an event.
const housekeepingMs = 10_000;
// After a sleep every connection is asked whether it is still one; a live peer answers in a round trip.
const probeMs = 3_000;
const probe = 'overlay/there';
// Dialling directly must leave time for the way through another member.
const directMs = 5_000;
// A pair that talks through a third node tries to do without it this often: networks change.
const directAgainMs = 5 * 60_000;

/** The overlay over libp2p. Made by {@link startOverlay}; every part is behind one promise of its own and wired together here. */
export class RingOverlay implements Overlay, Channels {
  readonly ring: RingDescriptor;
  readonly #log: Log;
  readonly #own: OwnRecord;
  readonly #gate: Gate;
  readonly #host: Host;
  readonly #channels: Channels;
  readonly #handlers = new Handlers();
  readonly #listeners: MembershipListeners;
  readonly #membership: Membership;
  readonly #admission: Admission;
  readonly #dialer: Dialer;
  readonly #places: DialPlaces;
  readonly #gossip: Gossip;
  readonly #locator: Locator;
  readonly #relay: Relay;
  readonly #peers: Peers;
  readonly #wake: WakeWatch;
  readonly #conduct: Conduct;
  readonly #file: TableFile;
  readonly #bootstrap: ReadonlyMap<string, readonly string[]>;
  readonly #protocols: ReturnType<typeof protocolsOf>;
  readonly #meetings = new Set<Promise<void>>();
  #housekeeping: NodeJS.Timeout | undefined;
  #triedDirectly = 0;
  #self: Member;
  #stopped = false;

  private constructor(options: OverlayOptions, gate: Gate, host: Host, offences: Offences, remembered: Remembered) {
    const { ring, certificate, log, now, conduct = noConduct } = options;
    this.#conduct = conduct;
    this.ring = ring;
    this.#log = log;
    this.#own = new OwnRecord(ring.name, certificate, signingKeyFromSeed(options.peerSeed), now);
    this.#gate = gate;
    this.#host = host;
    const { peerId, peerKey, owner } = certificate;
    this.#self = { peerId, peerKey, owner, addresses: [], certificate };
    this.#listeners = new MembershipListeners(log);
    const revocations = new RevocationState(ring, remembered.revocations);
    if (options.revocations !== undefined) revocations.offer(options.revocations);
    this.#membership = new Membership({
      table: new MemberTable({
        ring,
        revocations,
        now,
        selfKey: peerKey,
        inUse: (peer) => this.#gate.meets(peer),
        ...(options.table === undefined ? {} : { bounds: options.table }),
      }),
      revocations,
      selfId: peerId,
      listeners: this.#listeners,
      log,
      hooks: {
        news: (entry) => this.#onNews(entry),
        gone: (member) => this.#onGone(member),
        newerList: () => this.#onNewerList(),
      },
      conduct,
    });
    this.#file = new TableFile(options.dir, () => this.#toRemember(), log);
    this.#protocols = protocolsOf(ring.name);
    this.#peers = new Peers(gate, this.#protocols.request);
    this.#channels = new GossipChannels(host.services.channels, this.#protocols.prefix, offences);
    this.#bootstrap = bootstrapByPeer(options.bootstrap, peerId);
    this.#admission = new Admission({
      gate,
      membership: this.#membership,
      protocol: this.#protocols.admission,
      ownProof: () => this.#own.proof,
      admitted: (connection, peer) => this.#onAdmitted(connection, peer),
      forget: (connection) => this.#forgetStranger(connection),
      log,
    });
    const random = options.random ?? Math.random;
    this.#places = new DialPlaces({ listen: options.listen });
    this.#dialer = new Dialer({
      selfId: peerId,
      dial: (peer, addresses, signal) => this.#dial(peer, addresses, signal),
      isUp: (peer) => this.isUp(peer),
      random,
      log,
    });
    this.#gossip = new Gossip({
      membership: this.#membership,
      handlers: this.#handlers,
      upPeers: () => this.#peers.ids(),
      heardLarge: () => this.#locator.heardLarge(),
      ask: (peer, method, body, timeoutMs) => this.request(peer, method, body, { timeoutMs }),
      random,
      log,
    });
    this.#locator = new Locator({
      selfKey: peerKey,
      membership: this.#membership,
      dialer: this.#dialer,
      handlers: this.#handlers,
      isUp: (peer) => this.isUp(peer),
      ask: async (peer, method, body, how) => {
        await this.#dialer.reach(peer.peerId, peer.member.addresses);
        return this.#line(peer.peerId).request(method, body, how);
      },
      now,
      random,
      log,
    });
    this.#relay = new Relay({
      host,
      gate,
      protocols: this.#protocols,
      upNear: (peer) => this.#locator.near(peer).filter((one) => this.#peers.has(one)),
      log,
    });
    this.#wake = new WakeWatch(now, (ms) => this.#onWoke(ms));
    this.#handlers.handle(probe, async () => new Uint8Array());
    for (const proof of remembered.members) this.#membership.learn(proof);
  }

  /** Starts listening and dialling; resolves when the node listens, whoever answers. */
  static async start(options: OverlayOptions, remembered: Remembered): Promise<RingOverlay> {
    const gate = new Gate(options.log);
    const offences = new Offences(options.now);
    const host = await createHost({
      ringName: options.ring.name,
      seed: options.peerSeed,
      listen: options.listen,
      announce: options.announce ?? [],
      gate,
      offences,
    });
    const overlay = new RingOverlay(options, gate, host, offences, remembered);
    await overlay.#begin();
    return overlay;
  }

  get self(): Member {
    return this.#self;
  }

  members(): readonly Member[] {
    return this.#membership.table.members();
  }

  closest(key: Uint8Array, count: number): readonly Member[] {
    return this.#membership.table.closest(key, count);
  }

  locate(key: Uint8Array, count: number): Promise<void> | undefined {
    return this.#stopped ? undefined : this.#locator.locate(key, count);
  }

  isUp(peerId: string): boolean {
    return !this.#stopped && (peerId === this.#self.peerId || this.#peers.has(peerId));
  }

  async request(peerId: string, method: string, body: Uint8Array, options: RequestOptions): Promise<Uint8Array> {
    checkBody(body, 'the request');
    if (this.#stopped) throw new OverlayFault('unreachable', 'the overlay is stopped');
    if (peerId === this.#self.peerId) {
      return beforeDeadline(options, method, (signal) => this.#handlers.answer(method, body, this.#self, signal));
    }
    const line = this.#peers.line(peerId);
    if (line !== undefined) return line.request(method, body, options);
    return beforeDeadline(options, `${method} at ${peerId}`, async (signal) => {
      const reached = await this.#reach(peerId);
      return reached.request(method, body, { timeoutMs: options.timeoutMs, signal });
    });
  }

  handle(method: string, handler: RequestHandler): void {
    this.#handlers.handle(method, handler);
  }

  onMembership(listener: (change: MembershipChange) => void): () => void {
    return this.#listeners.add(listener);
  }

  join(topic: string, judge: (frame: Uint8Array) => FrameVerdict): Channel {
    return this.#channels.join(topic, judge);
  }

  offerRevocations(bytes: Uint8Array): void {
    this.#membership.learnRevocations(bytes);
  }

  revocations(): RevocationState {
    return this.#membership.revocations;
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    clearInterval(this.#housekeeping);
    this.#listeners.clear();
    this.#dialer.stop();
    this.#gossip.stop();
    this.#wake.stop();
    this.#peers.stop();
    await this.#locator.stop();
    // At once: waiting for streams to close would wait for peers.
    for (const connection of this.#host.getConnections()) connection.abort(new Error('the overlay stops'));
    await this.#host.stop();
    await Promise.all(this.#meetings);
    await this.#file.stop();
  }

  async #begin(): Promise<void> {
    this.#host.addEventListener('connection:open', ({ detail }) => this.#onOpened(detail));
    this.#host.addEventListener('connection:close', ({ detail }) => this.#onClosed(detail));
    await this.#host.handle(
      this.#protocols.admission,
      (stream, connection) => this.#admission.answer(stream, connection),
      {
        maxInboundStreams: 1,
        maxOutboundStreams: 1,
      },
    );
    await this.#host.handle(
      this.#protocols.request,
      this.#gate.guard((stream, connection) => {
        const from = this.#membership.table.get(connection.remotePeer.toString())?.member;
        if (from === undefined) stream.abort(new Error('no member'));
        else {
          const used = (): void => this.#peers.used(from.peerId);
          const broke = (what: string): void =>
            this.#conduct.note({ subject: { kind: 'node', name: from.peerId }, offence: 'broken-line', what });
          serveRequests(stream, from, this.#handlers, { log: this.#log, used, broke });
        }
      }, false),
      { maxInboundStreams: maxRequestStreams, maxOutboundStreams: maxRequestStreams },
    );
    await this.#relay.serve();
    await this.#host.start();
    this.#publishOwnRecord();
    for (const [peerId, addresses] of this.#bootstrap)
      this.#dialer.want(peerId, this.#addressesOf(peerId, addresses), true);
    this.#gossip.start();
    this.#locator.start();
    this.#wake.start();
    this.#housekeeping = setInterval(() => this.#keepHouse(), housekeepingMs);
  }

  #keepHouse(): void {
    this.#membership.sweep();
    if (!this.#own.isCurrent(this.#host.getMultiaddrs().map(String))) this.#publishOwnRecord();
    this.#tryDirectly();
    // Who is to be connected changes as the ring grows beyond a mesh, and beyond the table.
    for (const peerId of this.#dialer.wanted()) if (!this.#keepsConnected(peerId)) this.#dialer.forget(peerId);
    for (const entry of this.#membership.table.kept()) {
      const { peerId } = entry;
      if (!this.#dialer.wants(peerId) && this.#locator.keepsConnected(entry)) this.#want(peerId);
    }
    for (const peerId of this.#peers.idle())
      if (!this.#keepsConnected(peerId)) this.#peers.cut(peerId, 'not used any more');
  }

  /** Members that are reached through a third node only: the direct way may be open by now. */
  #tryDirectly(): void {
    const now = performance.now();
    if (now - this.#triedDirectly < directAgainMs) return;
    this.#triedDirectly = now;
    for (const peerId of this.#peers.ids()) {
      if (!this.#gate.connections(peerId).every(isRelayed)) continue;
      const addresses = this.#addressesOf(peerId, this.#bootstrap.get(peerId) ?? []);
      this.#dialDirectly(peerId, addresses, AbortSignal.timeout(directMs)).catch((error: unknown) =>
        this.#log.debug({ err: error, peer: peerId }, 'still not reached directly'),
      );
    }
  }

  #keepsConnected(peerId: string): boolean {
    const entry = this.#membership.table.get(peerId);
    return this.#bootstrap.has(peerId) || (entry !== undefined && this.#locator.keepsConnected(entry));
  }

  #want(peerId: string): void {
    this.#dialer.want(peerId, this.#addressesOf(peerId, this.#bootstrap.get(peerId) ?? []));
  }

  /** Asleep until now, or the clock was set: what looks like a connection may long be none, and addresses may have changed. */
  #onWoke(ms: number): void {
    this.#log.info({ ms, peers: this.#peers.ids().length }, 'the clock jumped: every connection is probed');
    this.#keepHouse();
    this.#dialer.hurry();
    for (const peerId of this.#peers.ids()) {
      const probed = this.#gate.connections(peerId);
      this.request(peerId, probe, new Uint8Array(), { timeoutMs: probeMs }).then(
        () => this.#gossip.syncWith(peerId),
        // Only those: a direct one that has just taken the place of one through a third node ends what was asked over that.
        () => probed.forEach((connection) => this.#gate.refuse(connection, 'no answer after a jump of the clock')),
      );
    }
    this.#locator.hurry();
    this.#listeners.tell({ kind: 'woke', member: this.#self });
  }

  #publishOwnRecord(): void {
    const addresses = this.#own.renew(this.#host.getMultiaddrs().map(String));
    this.#self = { ...this.#self, addresses };
    this.#membership.learn(this.#own.proof);
  }

  #onOpened(connection: Connection): void {
    const meeting = this.#admission.meet(connection).finally(() => this.#meetings.delete(meeting));
    this.#meetings.add(meeting);
  }

  #onAdmitted(connection: Connection, peerId: string): void {
    if (!isRelayed(connection))
      for (const other of this.#gate.connections(peerId))
        if (isRelayed(other)) this.#gate.refuse(other, 'connected directly now');
    if (this.#stopped || this.#peers.has(peerId)) return;
    const member = this.#membership.table.get(peerId)?.member;
    if (member === undefined) return;
    this.#peers.add(peerId);
    this.#log.info({ peer: peerId, owner: member.owner, direction: connection.direction }, 'peer up');
    this.#listeners.tell({ kind: 'up', member });
    // The router of channels hears of peers through identify, and nobody is identified before admission.
    this.#host.services.identify
      .identify(connection)
      .catch((error: unknown) => this.#log.debug({ err: error, peer: peerId }, 'identify failed'));
    if (connection.direction === 'outbound') this.#gossip.syncWith(peerId);
  }

  #onClosed(connection: Connection): void {
    this.#gate.closed(connection);
    this.#noteDown(connection.remotePeer.toString());
  }

  /** Says that a peer went down, once, when its last admitted connection is gone. */
  #noteDown(peerId: string): void {
    if (this.#gate.connections(peerId).length > 0 || !this.#peers.has(peerId)) return;
    // The other side has admitted the connection that takes the place of this one a moment before us.
    const meeting = this.#gate.meeting(peerId);
    if (meeting !== undefined) {
      meeting.then(() => this.#noteDown(peerId)).catch(() => undefined);
      return;
    }
    this.#peers.remove(peerId);
    const member = this.#membership.table.get(peerId)?.member;
    this.#log.info({ peer: peerId }, 'peer down');
    this.#dialer.lost(peerId);
    if (member !== undefined) this.#listeners.tell({ kind: 'down', member });
  }

  #onNews(entry: Entry): void {
    const { peerId } = entry.member;
    if (peerId === this.#self.peerId) {
      if (this.#own.overtakenBy(entry.sequence)) {
        this.#publishOwnRecord();
        return;
      }
    } else if (this.#locator.keepsConnected(entry)) this.#want(peerId);
    this.#file.touch();
    this.#gossip.spread(entry);
  }

  #onGone(member: Member): void {
    this.#dialer.forget(member.peerId);
    // Cutting tells at once that it is down, but not whom it was: the table has forgotten it already.
    const wasUp = this.#peers.has(member.peerId);
    this.#peers.cut(member.peerId, 'no longer a member');
    this.#peers.remove(member.peerId);
    if (wasUp) this.#listeners.tell({ kind: 'down', member });
    this.#file.touch();
  }

  #onNewerList(): void {
    this.#file.touch();
    this.#gossip.spreadList();
  }

  async #dial(peerId: string, addresses: readonly string[], signal: AbortSignal): Promise<void> {
    const connection = await this.#dialDirectly(peerId, addresses, signal).catch((error: unknown) => {
      this.#log.debug({ err: error, peer: peerId }, 'not reached directly');
      return this.#relay.connect(peerId, signal);
    });
    if (!(await this.#gate.settled(connection)))
      throw new OverlayFault('unreachable', `${peerId} did not admit us, or is no member`);
  }

  async #dialDirectly(peerId: string, addresses: readonly string[], signal: AbortSignal): Promise<Connection> {
    // What the operator gave to begin with is his to know; what a record says is the member's word.
    const given = this.#bootstrap.get(peerId) ?? [];
    const claimed = await this.#places.of(addresses.filter((address) => !given.includes(address)));
    const targets = [...given, ...claimed].map((address) => multiaddr(address).encapsulate(`/p2p/${peerId}`));
    if (targets.length === 0) throw new OverlayFault('unreachable', `no address of ${peerId} is known`);
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(directMs)]);
    // Where there is a connection through a third node already, another one is meant.
    return this.#host.dial(targets, { signal: inTime, force: this.#gate.connections(peerId).length > 0 });
  }

  async #reach(peerId: string): Promise<PeerLine> {
    const entry = await this.#locator.find(peerId);
    const reached = entry !== undefined && (await this.#dialer.reach(peerId, entry.member.addresses));
    if (!reached) throw new OverlayFault('unreachable', `${peerId} is not up`);
    return this.#line(peerId);
  }

  #line(peerId: string): PeerLine {
    const line = this.#peers.line(peerId);
    if (line === undefined) throw new OverlayFault('unreachable', `${peerId} is not up`);
    return line;
  }

  #addressesOf(peerId: string, bootstrap: readonly string[]): readonly string[] {
    return [...new Set([...(this.#membership.table.get(peerId)?.member.addresses ?? []), ...bootstrap])];
  }

  #forgetStranger(connection: Connection): void {
    const peerId = connection.remotePeer;
    if (this.#membership.table.get(peerId.toString()) !== undefined) return;
    this.#host.peerStore
      .delete(peerId)
      .catch((error: unknown) => this.#log.debug({ err: error }, 'a stranger could not be forgotten'));
  }

  #toRemember(): Remembered {
    const members = [...this.#membership.table.entries()].map(({ proof }) => proof);
    return { members, revocations: this.#membership.revocations.bytes() };
  }
}
