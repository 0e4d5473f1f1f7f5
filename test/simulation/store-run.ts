import type { Member } from '../../node/overlay/overlay.ts';
import { sha256 } from '../../node/store/block-cipher.ts';
import type { Block, Lease } from '../../node/store/content.ts';
import { placeKey } from '../../node/store/placement.ts';
import { address } from '../node/overlay/fake-overlay.ts';
import { type Churn, Population } from './churn.ts';
import { Distribution } from './distribution.ts';
import { SeededRandom } from './seeded-random.ts';
import { type Mesh, VirtualNetwork } from './virtual-network.ts';
import { VirtualTime } from './virtual-time.ts';
import { type WriterFigures, Writers } from './writers.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
export const startMs = Date.UTC(2026, 0, 1);
// Enough to tell blocks apart; a real one has up to 60,416 bytes, and what moves is given in copies.
const blockBytes = 64;
const sampleEveryMs = 10 * minuteMs;
const readsPerSample = 20;
// The nodes do not know from before who is down for long: after ten minutes they do, and after a walk of repair more they have agreed on it.
export const settlingMinutes = 20;

export interface StoreRun {
  readonly seed: number;
  readonly nodes: number;
  readonly blocks: number;
  /** People who write a log each, from two machines. */
  readonly writers: number;
  readonly hours: number;
  readonly copies: number;
  readonly churn: Churn;
  readonly mesh: Mesh;
}

export interface StoreFigures {
  /** Of all blocks, at all samples: none of the k that are nearest is up. What a store without stand-ins could not read. */
  readonly nearestAllDown: number;
  /** No node that is up has a copy. */
  readonly noneUp: number;
  /** Reads by random nodes, through the store, that failed. */
  readonly readsFailed: number;
  readonly reads: number;
  readonly readMs: Distribution;
  /** No disk of a machine that will come back has a copy. */
  readonly lost: number;
  readonly gone: number;
  /** Copies on all disks for one block, at the end. */
  readonly copiesPerBlock: number;
  /** Per node that is up and hour: comparing, and copies made. */
  readonly comparedBytes: number;
  readonly copiesMade: number;
  readonly requests: number;
  /** Blocks on a disk at the end. */
  readonly held: Distribution;
  readonly logs: WriterFigures;
  /** Where keys are looked up: bytes of questions for the nearest and of dialling, per running node and hour. */
  readonly lookupBytes: number;
  /** Members in the routing table of a node, and all that it remembers; of a full mesh, everyone. */
  readonly contacts: Distribution;
  readonly known: Distribution;
}

interface Seen {
  readonly onDisk: number;
  readonly up: number;
}

/** Blocks in a ring whose machines come and go; the store's own code does all that is done for them. */
export async function runStore(run: StoreRun): Promise<StoreFigures> {
  const time = new VirtualTime(startMs);
  const uninstall = time.install();
  try {
    return await simulate(run, time);
  } finally {
    uninstall();
  }
}

async function simulate(run: StoreRun, time: VirtualTime): Promise<StoreFigures> {
  const random = new SeededRandom(run.seed);
  const network = new VirtualNetwork(time, random, run.mesh);
  const ring = new Population(network, run.nodes, run.copies);
  if (run.mesh.kind === 'routed') network.settle();
  const writers = new Writers(ring, time, random, run.writers);
  const lease: Lease = { identity: address('alice@example.org'), until: startMs + 28 * 24 * hourMs };
  const blocks = Array.from({ length: run.blocks }, (): Block => {
    const bytes = random.bytes(blockBytes);
    return { key: sha256(bytes), bytes };
  });
  await time.during(writers.begin());
  ring.begin(run.churn);
  await time.during(deal(ring, network, blocks, lease, run.copies));
  await time.run(time.now() + settlingMinutes * minuteMs);
  network.traffic.reset();
  const from = time.now();
  const copiesBefore = copiesOf(ring).total;
  const reads = { readMs: new Distribution(), reads: 0, readsFailed: 0 };
  const at = { samples: 0, nearestAllDown: 0, noneUp: 0, upHours: 0 };
  while (time.now() < from + run.hours * hourMs) {
    await time.run(time.now() + sampleEveryMs);
    at.samples += blocks.length;
    at.upHours += (ring.running().length * sampleEveryMs) / hourMs;
    const copies = copiesOf(ring);
    const running = new Set(ring.running().map(({ member }) => member.peerId));
    for (const { key } of blocks) {
      if ((copies.of(key)?.up ?? 0) === 0) at.noneUp += 1;
      const { proper } = placeKey((near, count) => network.table.closest(near, count), key, run.copies);
      if (!proper.some(({ peerId }) => running.has(peerId))) at.nearestAllDown += 1;
    }
    for (let read = 0; read < readsPerSample; read += 1) {
      readOne(ring, random.pick(blocks), time, random, reads);
    }
  }
  await time.run(time.now() + minuteMs); // The last reads end.
  const lookedUp = run.mesh.kind === 'routed' ? network.traffic.of('overlay/near', 'dial').bytes : 0;
  const spoken = network.traffic.of('store/');
  const copies = copiesOf(ring);
  const routings = ring.running().flatMap(({ member }) => network.routingOf(member.peerId) ?? []);
  const compared = network.traffic.of('store/lacks', 'store/sync', 'store/summary', 'store/exchange').bytes;
  const unsure = await time.during(writers.unsure());
  // For what is read now, which is logs.
  ring.end((node) => node.hasHeads());
  await time.run(time.now() + minuteMs);
  const logs = await time.during(writers.check(unsure));
  // What runs would go on, in real time, when the virtual one is over.
  for (const node of ring.nodes) node.crash();
  await time.run(time.now() + minuteMs);
  return {
    ...reads,
    logs,
    lookupBytes: lookedUp / at.upHours,
    nearestAllDown: at.nearestAllDown / at.samples,
    noneUp: at.noneUp / at.samples,
    lost: blocks.filter(({ key }) => copies.of(key) === undefined).length,
    gone: ring.gone,
    copiesPerBlock: copies.total / blocks.length,
    comparedBytes: compared / at.upHours,
    copiesMade: (copies.total - copiesBefore) / at.upHours,
    requests: spoken.messages / 2 / at.upHours,
    contacts: new Distribution(routings.map(({ table }) => table.size)),
    known: new Distribution(routings.map(({ known }) => known)),
    held: new Distribution(ring.nodes.map((node) => node.blockKeys().length)),
  };
}

/** As in a ring that has run for long: each block lies at the nearest of all, and at the nearest that are up. */
async function deal(
  ring: Population,
  network: VirtualNetwork,
  blocks: readonly Block[],
  lease: Lease,
  copies: number,
): Promise<void> {
  const nodes = new Map(ring.nodes.map((node) => [node.member.peerId, node]));
  const isUp = ({ peerId }: Member): boolean => nodes.get(peerId)?.store !== undefined;
  for (const block of blocks) {
    const { proper, spare } = placeKey((near, count) => network.table.closest(near, count), block.key, copies);
    const standIns = [...proper, ...spare].filter(isUp).slice(0, copies);
    for (const { peerId } of new Set([...proper, ...standIns])) await nodes.get(peerId)?.deal(block, lease);
  }
}

function readOne(
  ring: Population,
  { key }: Block,
  time: VirtualTime,
  random: SeededRandom,
  reads: { readMs: Distribution; reads: number; readsFailed: number },
): void {
  const { store } = random.pick(ring.running());
  const began = time.now();
  reads.reads += 1;
  store?.fetch(key).then(
    () => reads.readMs.add(time.now() - began),
    () => {
      reads.readsFailed += 1;
    },
  );
}

function copiesOf(ring: Population): { total: number; of(key: Uint8Array): Seen | undefined } {
  const seen = new Map<string, { onDisk: number; up: number }>();
  let total = 0;
  for (const node of ring.nodes)
    for (const key of node.blockKeys()) {
      const name = Buffer.from(key).toString('latin1');
      const known = seen.get(name) ?? { onDisk: 0, up: 0 };
      seen.set(name, known);
      known.onDisk += 1;
      if (node.store !== undefined) known.up += 1;
      total += 1;
    }
  return { total, of: (key) => seen.get(Buffer.from(key).toString('latin1')) };
}
