import type { Connection } from '@libp2p/interface';
import type { Gate } from './gate.ts';
import { OverlayFault } from './overlay.ts';
import { PeerLine } from './peer-line.ts';

// Connections that nobody wants to keep and nobody has used for so long are closed: a question to the same member often comes with others.
const idleMs = 5 * 60_000;
// Streams for requests of one peer: its two kept ones on each of a few connections, and what is being replaced.
export const maxRequestStreams = 8;

type Peer = { readonly line: PeerLine; usedAt: number };

/** The members with an admitted connection, each with its kept request streams. */
export class Peers {
  readonly #gate: Gate;
  readonly #protocol: string;
  readonly #peers = new Map<string, Peer>();

  constructor(gate: Gate, protocol: string) {
    this.#gate = gate;
    this.#protocol = protocol;
  }

  has(peerId: string): boolean {
    return this.#peers.has(peerId);
  }

  ids(): readonly string[] {
    return [...this.#peers.keys()];
  }

  /** The line to ask over; undefined when the peer is not up. */
  line(peerId: string): PeerLine | undefined {
    this.used(peerId);
    return this.#peers.get(peerId)?.line;
  }

  /** Something was asked over the connection, by either side. */
  used(peerId: string): void {
    const peer = this.#peers.get(peerId);
    if (peer !== undefined) peer.usedAt = performance.now();
  }

  add(peerId: string): void {
    const line = new PeerLine(peerId, (signal) => this.#openStream(peerId, signal));
    this.#peers.set(peerId, { line, usedAt: performance.now() });
  }

  /** Ends the line; whether there was one. */
  remove(peerId: string): boolean {
    const peer = this.#peers.get(peerId);
    this.#peers.delete(peerId);
    peer?.line.stop();
    return peer !== undefined;
  }

  /** Cuts all connections of a peer. */
  cut(peerId: string, reason: string): void {
    for (const connection of this.#gate.connections(peerId)) this.#gate.refuse(connection, reason);
  }

  /** Those whose connection was not used for long. */
  idle(): readonly string[] {
    const since = performance.now() - idleMs;
    return [...this.#peers].filter(([, { usedAt }]) => usedAt < since).map(([peerId]) => peerId);
  }

  stop(): void {
    for (const { line } of this.#peers.values()) line.stop();
    this.#peers.clear();
  }

  async #openStream(peerId: string, signal: AbortSignal): ReturnType<Connection['newStream']> {
    // The newest connection: an older one may be dead without knowing it yet.
    const connection = this.#gate.connections(peerId).at(-1);
    if (connection === undefined) throw new OverlayFault('unreachable', `${peerId} is not up`);
    return connection.newStream(this.#protocol, { signal, maxOutboundStreams: maxRequestStreams });
  }
}
