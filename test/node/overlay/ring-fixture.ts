import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CertificateAuthority } from '../../../node/identity/authority.ts';
import type { NodeCertificate } from '../../../node/identity/certificate.ts';
import { signingKeyFromSeed } from '../../../node/identity/keys.ts';
import type { RingDescriptor } from '../../../node/identity/ring.ts';
import type { Channels } from '../../../node/overlay/channel.ts';
import type { Clock, Log, Overlay } from '../../../node/overlay/overlay.ts';
import { type OverlayOptions, startOverlay } from '../../../node/overlay/start.ts';
import type { Address } from '../../../policy/address.ts';
import { address, silentLog, testDomain } from './fake-overlay.ts';

export interface RingNode {
  overlay: Overlay & Channels;
  readonly seed: Uint8Array;
  readonly certificate: NodeCertificate;
  readonly dir: string;
}

export interface Ring {
  readonly ca: CertificateAuthority;
  readonly ring: RingDescriptor;
  readonly nodes: RingNode[];
  /** One more certified node, bootstrapped from the first. Resolves when it listens; see {@link Ring.allUp}. */
  addNode(owner?: Address): Promise<RingNode>;
  /** Starts a stopped node again with the same key, certificate and folder, on a new port. */
  restart(node: RingNode): Promise<Overlay & Channels>;
  /** The options to start a node with a given seed by hand. */
  options(seed: Uint8Array, certificate: NodeCertificate, dir: string): OverlayOptions;
  /** Resolves when every running node has an admitted connection to every other. */
  allUp(): Promise<void>;
  stop(): Promise<void>;
}

/** A certificate authority and `count` real overlays in this process, on 127.0.0.1, all connected when it resolves. */
export async function makeRing(
  count: number,
  { now = Date.now, log = silentLog, nodesPerIdentity }: { now?: Clock; log?: Log; nodesPerIdentity?: number } = {},
): Promise<Ring> {
  const ca = CertificateAuthority.create(testDomain, [], now, undefined, { nodesPerIdentity });
  const list = ca.revocations();
  const home = await mkdtemp(path.join(tmpdir(), 'epost-ring-'));
  const nodes: RingNode[] = [];
  const stopped = new Set<Overlay>();

  function options(peerSeed: Uint8Array, certificate: NodeCertificate, dir: string): OverlayOptions {
    const first = nodes.find(({ overlay }) => !stopped.has(overlay) && overlay.self.peerId !== certificate.peerId)
      ?.overlay.self;
    const bootstrap = first?.addresses.map((one) => `${one}/p2p/${first.peerId}`) ?? [];
    return {
      ring: ca.ring,
      peerSeed,
      certificate,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      bootstrap,
      dir,
      revocations: list,
      now,
      log,
    };
  }

  async function addNode(owner: Address = address(`user${nodes.length}@example.org`)): Promise<RingNode> {
    const seed = Uint8Array.from(randomBytes(32));
    const certificate = ca.issueNode({ peerKey: signingKeyFromSeed(seed).public, owner, days: 365 });
    const dir = path.join(home, `node${nodes.length}`);
    const node = { overlay: await startOverlay(options(seed, certificate, dir)), seed, certificate, dir };
    nodes.push(node);
    return node;
  }

  async function restart(node: RingNode): Promise<Overlay & Channels> {
    await node.overlay.stop();
    stopped.add(node.overlay);
    node.overlay = await startOverlay(options(node.seed, node.certificate, node.dir));
    return node.overlay;
  }

  const ring: Ring = {
    ca,
    ring: ca.ring,
    nodes,
    addNode,
    restart,
    options,
    allUp: () => allUp(nodes.map(({ overlay }) => overlay)),
    async stop() {
      await Promise.all(nodes.map(({ overlay }) => overlay.stop()));
      await rm(home, { recursive: true, force: true });
    },
  };
  for (let made = 0; made < count; made += 1) await addNode();
  await ring.allUp();
  return ring;
}

async function allUp(overlays: readonly Overlay[]): Promise<void> {
  for (const one of overlays) {
    for (const other of overlays) {
      while (!one.isUp(other.self.peerId)) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
