import type { NodeCertificate } from '../identity/certificate.ts';
import type { RingDescriptor } from '../identity/ring.ts';
import type { Conduct } from './conduct.ts';
import type { TableBounds } from './member-table.ts';
import type { Clock, Log } from './overlay.ts';

/** What a node needs to take part in its ring. */
export interface OverlayOptions {
  readonly ring: RingDescriptor;
  /** Ed25519 seed of the node; its public key is the certificate's `peerKey`. */
  readonly peerSeed: Uint8Array;
  readonly certificate: NodeCertificate;
  /** Multiaddrs to listen on, such as `/ip4/127.0.0.1/tcp/0`. */
  readonly listen: readonly string[];
  /** Multiaddrs to tell others instead, where the node stands behind a NAT. */
  readonly announce?: readonly string[];
  /** Multiaddrs with `/p2p/` of nodes to begin with. None need answer. */
  readonly bootstrap: readonly string[];
  /** Folder of this overlay alone: member table and revocation list over restarts. */
  readonly dir: string;
  /** A revocation list to begin with, when a newer one is not remembered. */
  readonly revocations?: Uint8Array;
  readonly now: Clock;
  readonly log: Log;
  /** Told of members that misbehave. */
  readonly conduct?: Conduct;
  /** How much of a large ring is kept here. */
  readonly table?: TableBounds;
  /** 0 to 1; for jitter and the choice of gossip partners only. */
  readonly random?: () => number;
}
