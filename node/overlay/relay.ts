import type { Connection, Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import { multiaddr } from '@multiformats/multiaddr';
import { z } from 'zod';
import { decodeCanonical, encodeCanonical } from '../identity/canonical.ts';
import type { Gate } from './gate.ts';
import type { Host } from './host.ts';
import { type Log, OverlayFault } from './overlay.ts';
import { joinStreams, Pace } from './relay-pipe.ts';
import { RelayedConnection } from './relayed-connection.ts';

export interface RelayParts {
  readonly host: Host;
  readonly gate: Gate;
  readonly protocols: { readonly relay: string; readonly relayed: string };
  /** The members that are up, those nearest to a peer first: in a large ring its neighbours are connected to it. */
  readonly upNear: (peerId: string) => readonly string[];
  readonly log: Log;
}

// What one node carries for others. A pair costs two streams and what waits in them, so some MB in all.
const maxPairs = 32;
const maxPairsOfOne = 4;
// All pairs together: a 35 MiB message in some ten seconds, and no more than a desktop's line can spare.
const bytesPerSecond = 4 * 1024 * 1024;
// Asked one after the other. In a full mesh the first knows; a dead peer costs its dialler so many small questions a redial.
const maxAsked = 3;
const askMs = 3_000;
const upgradeMs = 5_000;
const maxWordsBytes = 128;

const peerShape = z.string().min(1).max(64);
const requestShape = z.strictObject({ to: peerShape });
const offerShape = z.strictObject({ from: peerShape });
const answerShape = z.strictObject({ ok: z.boolean() });

/** Whether it goes through a third node. */
export function isRelayed(connection: Connection): boolean {
  return connection.remoteAddr.toString().includes('/p2p-circuit');
}

/**
 * Connections of two members that cannot reach each other, through a third that reaches both. What passes is a connection like any other, with
 * Noise and admission between the two ends: the third node carries bytes that it can neither read nor forge. Not circuit-relay v2, where
 * the one who is to be reached must have reserved a place at the relay before anyone needs it: here any common member will do, at once.
 */
export class Relay {
  readonly #parts: RelayParts;
  readonly #pairs = new Map<string, number>();
  readonly #pace = new Pace(bytesPerSecond);
  #carried = 0;

  constructor(parts: RelayParts) {
    this.#parts = parts;
  }

  async serve(): Promise<void> {
    const { host, gate, protocols } = this.#parts;
    const bounds = { maxInboundStreams: maxPairsOfOne, maxOutboundStreams: maxPairs };
    const carry = gate.guard((stream, connection) => this.#carry(stream, connection), false);
    const take = gate.guard((stream, connection) => this.#take(stream, connection), false);
    await host.handle(protocols.relay, carry, bounds);
    await host.handle(protocols.relayed, take, { ...bounds, maxInboundStreams: maxPairs });
  }

  /** A connection to `peerId` through another member, not admitted yet. Throws OverlayFault `unreachable` when none reaches it. */
  async connect(peerId: string, signal: AbortSignal): Promise<Connection> {
    const vias = this.#parts.upNear(peerId).filter((via) => via !== peerId && this.#direct(via) !== undefined);
    for (const via of vias.slice(0, maxAsked)) {
      try {
        return await this.#through(via, peerId, signal);
      } catch (error) {
        if (signal.aborted) break;
        this.#parts.log.debug({ err: error, peer: peerId, via }, 'not reached through this member');
      }
    }
    throw new OverlayFault('unreachable', `${peerId} is reached neither directly nor through another member`);
  }

  /** Pairs for which this node is the third. */
  get carried(): number {
    return this.#carried;
  }

  async #through(via: string, peerId: string, signal: AbortSignal): Promise<Connection> {
    const connection = this.#direct(via);
    if (connection === undefined) throw new Error('no direct connection');
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(askMs)]);
    const stream = await connection.newStream(this.#parts.protocols.relay, { signal: deadline });
    try {
      const words = lpStream(stream, { maxDataLength: maxWordsBytes });
      await words.write(encodeCanonical({ to: peerId }), { signal: deadline });
      const answer = read(answerShape, (await words.read({ signal: deadline })).subarray());
      if (!answer.ok) throw new Error('it does not reach it either, or carries enough');
      words.unwrap();
      const raw = new RelayedConnection(stream, addressThrough(via, peerId), 'outbound');
      const { upgrader } = this.#parts.host.services.upgrade;
      return await upgrader.upgradeOutbound(raw, { signal: AbortSignal.any([signal, AbortSignal.timeout(upgradeMs)]) });
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  /** The third node's part. */
  async #carry(stream: Stream, connection: Connection): Promise<void> {
    const from = connection.remotePeer.toString();
    // A way through two nodes would double the load for a case that a better choice of the third avoids.
    if (isRelayed(connection) || this.#carried >= maxPairs || (this.#pairs.get(from) ?? 0) >= maxPairsOfOne) {
      stream.abort(new Error('no more pairs'));
      return;
    }
    this.#count(from, 1);
    let onward: Stream | undefined;
    try {
      const signal = AbortSignal.timeout(askMs);
      const words = lpStream(stream, { maxDataLength: maxWordsBytes });
      const { to } = read(requestShape, (await words.read({ signal })).subarray());
      const there = to === from ? undefined : this.#direct(to);
      if (there !== undefined) {
        onward = await there.newStream(this.#parts.protocols.relayed, { signal });
        const offer = lpStream(onward, { maxDataLength: maxWordsBytes });
        await offer.write(encodeCanonical({ from }), { signal });
        offer.unwrap();
      }
      await words.write(encodeCanonical({ ok: onward !== undefined }), { signal });
      words.unwrap();
      if (onward === undefined) {
        await stream.close({ signal });
        return;
      }
      this.#parts.log.info({ from, to }, 'carrying for two members that do not reach each other');
      await joinStreams(stream, onward, this.#pace);
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error));
      stream.abort(cause);
      onward?.abort(cause);
    } finally {
      this.#count(from, -1);
    }
  }

  /** Somebody wants to be connected through the peer of this connection; who it is Noise and admission will prove. */
  async #take(stream: Stream, connection: Connection): Promise<void> {
    const signal = AbortSignal.timeout(upgradeMs);
    try {
      const words = lpStream(stream, { maxDataLength: maxWordsBytes });
      const { from } = read(offerShape, (await words.read({ signal })).subarray());
      words.unwrap();
      const raw = new RelayedConnection(stream, addressThrough(connection.remotePeer.toString(), from), 'inbound');
      await this.#parts.host.services.upgrade.upgrader.upgradeInbound(raw, { signal });
    } catch (error) {
      this.#parts.log.debug({ err: error }, 'a connection through another member did not come about');
      stream.abort(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #direct(peerId: string): Connection | undefined {
    return this.#parts.gate.connections(peerId).findLast((connection) => !isRelayed(connection));
  }

  #count(from: string, change: number): void {
    this.#carried += change;
    const pairs = (this.#pairs.get(from) ?? 0) + change;
    if (pairs > 0) this.#pairs.set(from, pairs);
    else this.#pairs.delete(from);
  }
}

function addressThrough(via: string, peerId: string): ReturnType<typeof multiaddr> {
  return multiaddr(`/p2p/${via}/p2p-circuit/p2p/${peerId}`);
}

function read<T>(shape: z.ZodType<T>, bytes: Uint8Array): T {
  const decoded = decodeCanonical(bytes, maxWordsBytes);
  if (decoded.kind === 'invalid') throw new Error(`no word of a relay: ${decoded.reason}`);
  return shape.parse(decoded.value);
}
