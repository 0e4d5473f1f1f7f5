import type { Connection, Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import { multiaddr } from '@multiformats/multiaddr';
import { decodeCanonical, encodeCanonical } from '../../../node/identity/canonical.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import type { Member } from '../../../node/overlay/overlay.ts';
import { RelayedConnection } from '../../../node/overlay/relayed-connection.ts';
import { address } from './fake-overlay.ts';
import type { Ring } from './ring-fixture.ts';
import { protocols, Rogue, say } from './rogue.ts';

type Alter = (bytes: Uint8Array) => Uint8Array;

/** A certified peer that keeps no rule. */
export class CertifiedRogue {
  readonly rogue: Rogue;
  readonly #certificate: Uint8Array;

  private constructor(rogue: Rogue, certificate: Uint8Array) {
    this.rogue = rogue;
    this.#certificate = certificate;
  }

  static async start(ring: Ring, name: string): Promise<CertifiedRogue> {
    const rogue = await Rogue.start();
    const peerKey = signingKeyFromSeed(rogue.seed).public;
    const certificate = ring.ca.issueNode({ peerKey, owner: address(`${name}@example.org`), days: 1 });
    return new CertifiedRogue(rogue, certificate.bytes);
  }

  /** Shows its certificate, and is a member like any other from then on. */
  async meet(member: Member): Promise<Connection> {
    const connection = await this.rogue.connect(member);
    const answer = await say(connection, protocols.admit, this.rogue.hello(this.#certificate));
    if (typeof answer === 'string') throw new Error(answer);
    return connection;
  }
}

/** What an evil third node does with a way to `to`, for which it was asked by `from` and has said yes. */
export type Carry = (stream: Stream, to: string, from: string) => Promise<void>;

/** A certified member that offers to carry for all others, and does with what it carries as it likes. */
export class EvilThird {
  readonly #self: CertifiedRogue;
  readonly #connections = new Map<string, Connection>();
  carry: Carry = async () => undefined;
  asked = 0;

  private constructor(self: CertifiedRogue) {
    this.#self = self;
  }

  static async start(ring: Ring, members: readonly Member[]): Promise<EvilThird> {
    const third = new EvilThird(await CertifiedRogue.start(ring, 'trudy'));
    await third.#self.rogue.host.handle(protocols.relay, async (stream, connection) => {
      const words = lpStream(stream);
      const asked = decodeCanonical((await words.read()).subarray(), 256);
      const to = asked.kind === 'decoded' ? (asked.value as { to: string }).to : '';
      await words.write(encodeCanonical({ ok: true }));
      words.unwrap();
      third.asked += 1;
      await third.carry(stream, to, connection.remotePeer.toString());
    });
    for (const member of members) third.#connections.set(member.peerId, await third.#self.meet(member));
    return third;
  }

  /** Hands on, after `alter`, between a stream and a member, whom it tells that `from` wants him. */
  async handOn(stream: Stream, to: string, from: string, alter: Alter = (bytes) => bytes): Promise<void> {
    const onward = await this.#connections.get(to)?.newStream(protocols.relayed);
    if (onward === undefined) throw new Error(`it has no connection to ${to}`);
    const offer = lpStream(onward);
    await offer.write(encodeCanonical({ from }));
    offer.unwrap();
    for (const [one, other] of [
      [stream, onward],
      [onward, stream],
    ] as const) {
      one.addEventListener('message', ({ data }) => {
        if (other.status === 'open') other.send(alter(Uint8Array.from(data.subarray())));
      });
      one.addEventListener('close', () => other.abort(new Error('over')));
    }
  }

  /** Answers as if it were the one who is wanted. */
  async pose(stream: Stream, from: string): Promise<void> {
    const raw = new RelayedConnection(stream, multiaddr(`/p2p/${from}`), 'inbound');
    await this.#self.rogue.host.services.upgrade.upgrader.upgradeInbound(raw, { signal: AbortSignal.timeout(5_000) });
  }

  async stop(): Promise<void> {
    await this.#self.rogue.stop();
  }
}
