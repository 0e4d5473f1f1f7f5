import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import type { GossipSub } from '@libp2p/gossipsub';
import { type Identify, identify } from '@libp2p/identify';
import type { Libp2p, ServiceMap, Upgrader } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { type Ping, ping } from '@libp2p/ping';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { signingKeyFromSeed } from '../identity/keys.ts';
import type { Gate } from './gate.ts';
import { type Offences, routerService } from './gossip-channels.ts';

interface HostServices extends ServiceMap {
  readonly identify: Identify;
  readonly ping: Ping;
  readonly channels: GossipSub;
  /** Makes a connection of a stream that a third node carries. */
  readonly upgrade: { readonly upgrader: Upgrader };
}
export type Host = Libp2p<HostServices>;

export interface HostOptions {
  readonly ringName: string;
  readonly seed: Uint8Array;
  readonly listen: readonly string[];
  readonly announce: readonly string[];
  readonly gate: Gate;
  readonly offences: Offences;
}

// More connections than a full mesh of this many nodes needs are strangers or a mistake.
const maxConnections = 1_000;
// Nodes behind one NAT or on one machine start together; beyond this in a second from one address it is a flood.
const connectionsPerSecond = 100;
const maxPendingConnections = 128;
// Admission, requests, pings, lookups: a few dozen streams per connection are in use at most.
const maxStreamsPerConnection = 128;
const dialTimeoutMs = 5_000;

/** The protocols of a ring; those of two rings never meet. */
export function protocolsOf(ringName: string) {
  const prefix = `epost/${ringName}`;
  const named = (what: string): string => `/${prefix}/${what}/1`;
  return {
    prefix,
    admission: named('admit'),
    request: named('request'),
    channel: named('channel'),
    relay: named('relay'),
    relayed: named('relayed'),
  } as const;
}

/** A libp2p host of the ring, not started: TCP, Noise, Yamux, and identify, ping and gossipsub under the ring's name, behind the gate. */
export function createHost({ ringName, seed, listen, announce, gate, offences }: HostOptions): Promise<Host> {
  const { prefix, channel } = protocolsOf(ringName);
  const makeIdentify = identify({ protocolPrefix: prefix, runOnConnectionOpen: false });
  const makePing = ping({ protocolPrefix: prefix });
  const makeRouter = routerService(channel, offences);
  return createLibp2p<HostServices>({
    start: false,
    nodeInfo: { name: 'epost', version: '1', userAgent: 'epost' },
    privateKey: privateKeyFromRaw(Buffer.concat([seed, signingKeyFromSeed(seed).public])),
    addresses: { listen: [...listen], announce: [...announce] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ maxInboundStreams: maxStreamsPerConnection })],
    connectionManager: {
      maxConnections,
      inboundConnectionThreshold: connectionsPerSecond,
      maxIncomingPendingConnections: maxPendingConnections,
      dialTimeout: dialTimeoutMs,
      // We redial ourselves, for ever and only members.
      reconnectRetries: 0,
    },
    connectionMonitor: { protocolPrefix: prefix },
    services: {
      identify: (components) => makeIdentify(gate.guarded(components)),
      // libp2p pings every connection by its own clock, admitted or not.
      ping: (components) => makePing(gate.guarded(components, true)),
      upgrade: ({ upgrader }) => ({ upgrader }),
      channels: (components) => makeRouter(gate.guarded(components)),
    },
  });
}
