import { createHash } from 'node:crypto';
import { type GossipSub, gossipsub, StrictNoSign, TopicValidatorResult } from '@libp2p/gossipsub';
import { type Channel, type Channels, type FrameVerdict, maxChannelFrameBytes } from './channel.ts';
import { type Clock, OverlayFault } from './overlay.ts';

// A dozen frames and the router's own control messages; more at a time is nobody's honest traffic.
const maxRpcBytes = 256 * 1024;
const maxListed = 500;
// About 250 topics: what one node's users take part in. Beyond that a peer's subscriptions are not noted.
const maxTopicBytesPerPeer = 256 * 1024;
// Of libp2p's scale: at -80 a peer is not listened to (weight 10), so eight offences are one too many; one a minute is forgiven.
const offencesForgivenPerMinute = 1;
const maxOffences = 30;
// As many peers as the member table holds.
const maxOffenders = 5_000;

/** What peers did that no honest one does, and how that fades. */
export class Offences {
  readonly #now: Clock;
  readonly #peers = new Map<string, { count: number; at: number }>();

  constructor(now: Clock) {
    this.#now = now;
  }

  note(peerId: string): void {
    const count = Math.min(maxOffences, this.of(peerId) + 1);
    this.#peers.delete(peerId);
    this.#peers.set(peerId, { count, at: this.#now() });
    const oldest = this.#peers.size > maxOffenders ? this.#peers.keys().next().value : undefined;
    if (oldest !== undefined) this.#peers.delete(oldest);
  }

  of(peerId: string): number {
    const known = this.#peers.get(peerId);
    if (known === undefined) return 0;
    // A clock that was set back forgives nothing and adds nothing.
    const minutes = Math.max(0, this.#now() - known.at) / 60_000;
    return Math.max(0, known.count - minutes * offencesForgivenPerMinute);
  }
}

/** The router (gossipsub) as a libp2p service, speaking only `protocol`. Frames carry no name and no signature of its own: what is in them proves itself. */
export function routerService(protocol: string, offences: Offences): ReturnType<typeof gossipsub> {
  const make = gossipsub({
    globalSignaturePolicy: StrictNoSign,
    fallbackToFloodsub: false,
    // By content, so that a frame sent twice is one, whoever sends it.
    msgIdFn: (message) => createHash('sha256').update(message.topic).update('\0').update(message.data).digest(),
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    canRelayMessage: false,
    doPX: false,
    maxInboundDataLength: maxRpcBytes,
    maxTopicBytesPerPeer,
    decodeRpcLimits: {
      maxSubscriptions: maxListed,
      maxMessages: maxListed,
      maxIhaveMessageIDs: maxListed,
      maxIwantMessageIDs: maxListed,
      maxIdontwantMessageIDs: maxListed,
      maxControlMessages: maxListed,
      maxPeerInfos: 0,
    },
    scoreParams: {
      // Nodes behind one NAT, or of one test, are no attack: with the default more than ten of them hear nothing.
      IPColocationFactorWeight: 0,
      appSpecificScore: (peerId) => -offences.of(peerId),
    },
  });
  return (components) => {
    const router = make(components);
    // The option of this name is not looked at (17.1): with the public names of gossipsub, nodes of other networks could take part.
    router.protocols = [protocol];
    return router;
  };
}

const results = {
  pass: TopicValidatorResult.Accept,
  drop: TopicValidatorResult.Ignore,
  offence: TopicValidatorResult.Reject,
} as const;

type Judge = (frame: Uint8Array) => FrameVerdict;

/** Several on one node may take part: what one of them would pass is passed, and only what offends all is an offence. */
function together(verdicts: readonly FrameVerdict[]): FrameVerdict {
  return (['pass', 'drop'] as const).find((verdict) => verdicts.includes(verdict)) ?? 'offence';
}

/** Channels over the router. Nothing of it outlives the host. */
export class GossipChannels implements Channels {
  readonly #router: GossipSub;
  readonly #prefix: string;
  readonly #offences: Offences;
  /** By topic; gone with the last who takes part here. */
  readonly #judges = new Map<string, Set<Judge>>();

  constructor(router: GossipSub, prefix: string, offences: Offences) {
    this.#router = router;
    this.#prefix = prefix;
    this.#offences = offences;
  }

  join(topic: string, judge: Judge): Channel {
    const name = `/${this.#prefix}/channel/${topic}`;
    // One of its own, so that the same function may take part twice.
    const one: Judge = (frame) => judge(frame);
    const judges = this.#judges.get(name) ?? this.#enter(name);
    judges.add(one);
    return {
      publish: async (frame) => {
        if (frame.length > maxChannelFrameBytes)
          throw new OverlayFault('too-large', `a frame of a channel is at most ${maxChannelFrameBytes} bytes`);
        for (const other of judges) if (other !== one) other(frame);
        await this.#router.publish(name, frame);
      },
      close: () => {
        if (judges.delete(one) && judges.size === 0) this.#leave(name);
      },
    };
  }

  #enter(name: string): Set<Judge> {
    const judges = new Set<Judge>();
    this.#judges.set(name, judges);
    this.#router.topicValidators.set(name, (peer, { data }) => {
      const verdict =
        data.length > maxChannelFrameBytes ? 'offence' : together([...judges].map((judge) => judge(data)));
      if (verdict === 'offence') this.#offences.note(peer.toString());
      return results[verdict];
    });
    this.#router.subscribe(name);
    return judges;
  }

  #leave(name: string): void {
    this.#judges.delete(name);
    this.#router.topicValidators.delete(name);
    // After the host has stopped there is nothing left to leave.
    if (this.#router.getTopics().includes(name)) this.#router.unsubscribe(name);
  }
}
