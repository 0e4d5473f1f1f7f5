import type { VirtualNetwork } from './virtual-network.ts';
import { VirtualNode } from './virtual-node.ts';

const hourMs = 3_600_000;

/** How machines come and go. Hours are means of exponential times, the hardest case: how long a machine has been up says nothing. */
export interface Churn {
  readonly sessionHours: number;
  readonly downHours: number;
  /** Of all departures: the machine is gone for good, its disk with it. A new one takes its place, and a day later it is put out of the ring. */
  readonly forGood: number;
}

export const desktops: Churn = { sessionHours: 12, downHours: 6, forGood: 0.01 };
const revokedAfterMs = 24 * hourMs;

/** The machines of a ring, coming and going until the simulation ends. */
export class Population {
  readonly nodes: VirtualNode[];
  /** Machines that are gone for good since the beginning. */
  gone = 0;
  readonly #network: VirtualNetwork;
  readonly #copies: number;
  #over = false;

  constructor(network: VirtualNetwork, size: number, copies: number) {
    this.#network = network;
    this.#copies = copies;
    this.nodes = Array.from({ length: size }, () => new VirtualNode(network, copies));
    for (const node of this.nodes) node.start(true);
  }

  running(): VirtualNode[] {
    return this.nodes.filter(({ store }) => store !== undefined);
  }

  /** Begins as a ring that has run for long: as many are down as are down on average. */
  begin(churn: Churn): void {
    const { random } = this.#network;
    const shareDown = churn.downHours / (churn.sessionHours + churn.downHours);
    for (const node of this.nodes) {
      const down = random.next() < shareDown;
      if (down) node.crash(true);
      this.#next(node, churn, !down);
    }
  }

  /** From now on nobody goes, and of those that are away and not gone for good those that are wanted come back. */
  end(wanted: (node: VirtualNode) => boolean): void {
    this.#over = true;
    for (const node of this.nodes) if (node.store === undefined && wanted(node)) node.start();
  }

  #next(node: VirtualNode, churn: Churn, up: boolean): void {
    const { random, time } = this.#network;
    const ms = random.exponential((up ? churn.sessionHours : churn.downHours) * hourMs);
    time.after(ms, () => {
      if (this.#over) return;
      if (!up) {
        node.start();
        this.#next(node, churn, true);
        return;
      }
      node.crash();
      if (random.next() >= churn.forGood) this.#next(node, churn, false);
      else this.#replace(node, churn);
    });
  }

  #replace(node: VirtualNode, churn: Churn): void {
    const fresh = new VirtualNode(this.#network, this.#copies);
    this.nodes[this.nodes.indexOf(node)] = fresh;
    this.gone += 1;
    fresh.start();
    this.#next(fresh, churn, true);
    this.#network.time.after(revokedAfterMs, () => this.#network.revoke(node.member));
  }
}
