import { placeKey } from '../../node/store/placement.ts';
import type { Population } from './churn.ts';
import { Distribution } from './distribution.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { VirtualNetwork } from './virtual-network.ts';

export interface LookupFigures {
  readonly lookups: number;
  /** Did not find exactly the holders that the whole ring would name. */
  readonly wrong: number;
  /** Questions one after the other, and in all. */
  readonly hops: Distribution;
  readonly asked: Distribution;
  readonly ms: Distribution;
  /** Contacts in a node's routing table, and all members that it remembers. */
  readonly kept: Distribution;
  readonly known: Distribution;
  /** Per running node and hour, all questions for the nearest: lookups, and keeping the tables fresh. */
  readonly bytes: number;
}

/** Lookups of random keys by random nodes, beside what the store does by itself. */
export class Lookups {
  readonly #network: VirtualNetwork;
  readonly #ring: Population;
  readonly #copies: number;
  readonly #hops = new Distribution();
  readonly #asked = new Distribution();
  readonly #ms = new Distribution();
  #lookups = 0;
  #wrong = 0;

  constructor(network: VirtualNetwork, ring: Population, copies: number) {
    this.#network = network;
    this.#ring = ring;
    this.#copies = copies;
  }

  one(random: SeededRandom): void {
    const { peerId: self } = random.pick(this.#ring.running()).member;
    const router = this.#network.routingOf(self)?.router;
    if (router === undefined) return;
    const key = random.bytes(32);
    const { time, table } = this.#network;
    const began = time.now();
    const { proper } = placeKey((near, count) => table.closest(near, count), key, this.#copies);
    this.#lookups += 1;
    router.lookup(key, 4 * this.#copies).then(
      ({ nearest, asked, hops }) => {
        this.#ms.add(time.now() - began);
        this.#hops.add(hops);
        this.#asked.add(asked);
        // Who asks knows where he stands himself.
        const found = new Set([self, ...nearest.map(({ peerId }) => peerId)]);
        if (!proper.every(({ peerId }) => found.has(peerId))) this.#wrong += 1;
      },
      (error: unknown) => {
        throw error; // A lookup rejects nothing: it ends the simulation.
      },
    );
  }

  figures(upHours: number): LookupFigures {
    const routings = this.#ring.nodes.flatMap(({ member }) => this.#network.routingOf(member.peerId) ?? []);
    return {
      lookups: this.#lookups,
      wrong: this.#wrong,
      hops: this.#hops,
      asked: this.#asked,
      ms: this.#ms,
      kept: new Distribution(routings.map(({ table }) => table.size)),
      known: new Distribution(routings.map(({ known }) => known)),
      bytes: this.#network.traffic.of('overlay/near', 'dial').bytes / upHours,
    };
  }
}
