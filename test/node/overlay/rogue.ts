import { randomBytes } from 'node:crypto';
import type { Connection, Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import { multiaddr } from '@multiformats/multiaddr';
import { encodeCanonical } from '../../../node/identity/canonical.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import { Gate } from '../../../node/overlay/gate.ts';
import { Offences } from '../../../node/overlay/gossip-channels.ts';
import { createHost, type Host } from '../../../node/overlay/host.ts';
import { signNodeRecord } from '../../../node/overlay/node-record.ts';
import type { Member } from '../../../node/overlay/overlay.ts';
import { silentLog, testDomain } from './fake-overlay.ts';

export const protocols = {
  admit: '/epost/example.org/admit/1',
  request: '/epost/example.org/request/1',
  channel: '/epost/example.org/channel/1',
  relay: '/epost/example.org/relay/1',
  relayed: '/epost/example.org/relayed/1',
  identify: '/epost/example.org/id/1.0.0',
  ping: '/epost/example.org/ping/1.0.0',
} as const;

/** A libp2p peer that speaks the ring's protocols but keeps none of its rules. */
export class Rogue {
  readonly seed: Uint8Array;
  readonly host: Host;

  private constructor(seed: Uint8Array, host: Host) {
    this.seed = seed;
    this.host = host;
  }

  static async start(seed: Uint8Array = Uint8Array.from(randomBytes(32))): Promise<Rogue> {
    const gate = new Gate(silentLog);
    const host = await createHost({
      ringName: testDomain,
      seed,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      announce: [],
      gate,
      offences: new Offences(Date.now),
    });
    await host.start();
    return new Rogue(seed, host);
  }

  get peerId(): string {
    return this.host.peerId.toString();
  }

  get address(): string {
    return this.host.getMultiaddrs().map(String)[0] ?? '';
  }

  connect(victim: Member): Promise<Connection> {
    return this.host.dial(multiaddr(`${victim.addresses[0]}/p2p/${victim.peerId}`), {
      signal: AbortSignal.timeout(5_000),
    });
  }

  /** A hello as the admission wants it, with whatever certificate and record. */
  hello(certificate: Uint8Array, changes: object = {}): Uint8Array {
    const record = signNodeRecord({ ring: testDomain, addresses: [], sequence: 1 }, signingKeyFromSeed(this.seed));
    return encodeCanonical({ version: 1, certificate, record, ...changes });
  }

  async stop(): Promise<void> {
    await this.host.stop();
  }
}

/** Says one thing on a stream and returns the length-prefixed answer, or the fault as text. */
export async function say(connection: Connection, protocol: string, message: Uint8Array): Promise<Uint8Array | string> {
  try {
    const signal = AbortSignal.timeout(3_000);
    const stream = await connection.newStream(protocol, { signal });
    const frames = lpStream(stream);
    await frames.write(message, { signal });
    return Uint8Array.from((await frames.read({ signal })).subarray());
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}

/** Sends bytes as they are on a fresh stream and returns every byte that comes back within the time. */
export async function poke(
  connection: Connection,
  protocol: string,
  bytes: Uint8Array,
  forMs: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  try {
    const stream: Stream = await connection.newStream(protocol, { signal: AbortSignal.timeout(3_000) });
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    stream.addEventListener('message', (event) => parts.push(event.data.subarray()));
    stream.addEventListener('close', () => resolve());
    if (bytes.length > 0) stream.send(bytes);
    await Promise.race([closed, new Promise((over) => setTimeout(over, forMs))]);
  } catch {
    // A connection that was cut before the stream was there: nothing came back.
  }
  return Uint8Array.from(Buffer.concat(parts));
}
