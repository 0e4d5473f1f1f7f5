import { type Entry, maxMembers } from '../../node/overlay/member-table.ts';
import type { Member } from '../../node/overlay/overlay.ts';
import { PositionIndex } from '../../node/overlay/position-index.ts';
import { neighboursEveryMs, Router } from '../../node/overlay/router.ts';
import { RoutingTable } from '../../node/overlay/routing-table.ts';
import type { VirtualNetwork } from './virtual-network.ts';
import type { VirtualOverlay } from './virtual-overlay.ts';

export const nearMethod = 'overlay/near';
// As the real locator has them.
const askMs = 3_000;
const maintainEveryMs = 60_000;
const maintainFirstMs = 2_000;

/**
 * What one node of a large ring knows of the others, and how it finds the rest: the product's routing table and router, over virtual lines. The
 * table outlives a crash, as the real one does in its file; what runs is made anew by {@link run}.
 */
export class VirtualRouting {
  readonly table: RoutingTable<Entry>;
  readonly self: Entry;
  router: Router<Entry> | undefined;
  readonly #network: VirtualNetwork;
  readonly #index = new PositionIndex<Entry>();
  /** In the order in which they were last heard of; the node itself is not in it. */
  readonly #known = new Map<string, Entry>();
  #overlay: VirtualOverlay | undefined;

  constructor(network: VirtualNetwork, self: Entry) {
    this.#network = network;
    this.self = self;
    this.table = new RoutingTable(self.position);
    this.#index.put(self);
  }

  get known(): number {
    return this.#known.size;
  }

  members(): readonly Member[] {
    const kept = [...this.#known.values()].filter(({ peerId }) => this.table.has(peerId));
    return [this.self, ...kept].map(({ member }) => member);
  }

  closest(key: Uint8Array, count: number): readonly Member[] {
    return this.#nearest(key, count).map(({ member }) => member);
  }

  #nearest(key: Uint8Array, count: number): Entry[] {
    return this.#index.nearest(key, count, () => true);
  }

  /** Whether it is one that this node has not known before and keeps from now on. */
  learn(entry: Entry): boolean {
    if (entry === this.self) return false;
    const before = this.#known.delete(entry.peerId);
    this.#known.set(entry.peerId, entry);
    if (before) return !this.table.has(entry.peerId) && this.table.offer(entry);
    this.#index.put(entry);
    const kept = this.table.offer(entry);
    if (this.#known.size > maxMembers) this.#forgetOldest();
    return kept;
  }

  #forgetOldest(): void {
    for (const entry of this.#known.values()) {
      if (this.table.has(entry.peerId)) continue;
      this.forget(entry);
      return;
    }
  }

  forget(entry: Entry): void {
    if (!this.#known.delete(entry.peerId)) return;
    this.#index.remove(entry.position);
    this.table.remove(entry.peerId);
  }

  /** The node starts; until its overlay is dead it keeps its part of the ring known. `before`: it has run for long. */
  run(overlay: VirtualOverlay, before: boolean): void {
    this.#overlay = overlay;
    const { time, random } = this.#network;
    const router = new Router<Entry>({
      self: this.self.position,
      table: this.table,
      known: (key, count) => this.#nearest(key, count + 1).filter((one) => one !== this.self),
      holds: (peerId) => this.#known.has(peerId),
      ask: (peer, key, count, signal) => this.#ask(overlay, peer, key, count, signal),
      now: time.now,
      random: random.next,
      ...(before ? { againMs: neighboursEveryMs } : {}),
    });
    this.router = router;
    overlay.handle(nearMethod, async (body, from) => {
      const asker = this.#network.table.get(from.peerId);
      if (asker !== undefined) this.#learnOf(overlay, asker);
      const near = this.#nearest(body.subarray(1), body[0] ?? 0);
      return this.#network.encodeNear(near);
    });
    let everyMs = before ? maintainEveryMs : maintainFirstMs;
    const maintain = (): void => {
      if (this.#overlay !== overlay || !overlay.alive) return router.stop();
      router.maintain().catch(bug);
      time.after(everyMs, maintain);
      everyMs = Math.min(2 * everyMs, maintainEveryMs);
    };
    time.after(before ? random.next() * maintainEveryMs : 1, maintain);
  }

  /** See Overlay.locate. */
  locate(key: Uint8Array, count: number): Promise<void> | undefined {
    const looking = this.router?.locate(key, count);
    return looking === undefined ? this.#connect(key, count) : looking.then(() => this.#connect(key, count));
  }

  #connect(key: Uint8Array, count: number): Promise<void> | undefined {
    const overlay = this.#overlay;
    if (overlay === undefined) return undefined;
    const away = this.#nearest(key, count).filter(({ peerId }) => !overlay.isUp(peerId) && !this.table.has(peerId));
    if (away.length === 0) return undefined;
    return Promise.all(away.map(({ peerId }) => this.#network.dial(overlay, peerId))).then(() => undefined);
  }

  async #ask(
    overlay: VirtualOverlay,
    peer: Entry,
    key: Uint8Array,
    count: number,
    signal: AbortSignal,
  ): Promise<readonly Entry[]> {
    const { time } = this.#network;
    const { peerId } = peer;
    if (!overlay.isUp(peerId) && !(await this.#network.dial(overlay, peerId))) {
      // One of those that are kept connected is known to be away; any other gives no answer to the dial.
      if (!this.table.has(peerId)) await time.sleep(askMs);
      throw new Error('away');
    }
    const body = Buffer.concat([Buffer.of(count), key]);
    const answer = await overlay.request(peerId, nearMethod, body, { timeoutMs: askMs, signal });
    const named = this.#network.decodeNear(answer).filter((entry) => entry !== this.self);
    for (const entry of [peer, ...named]) this.#learnOf(overlay, entry);
    return named;
  }

  #learnOf(overlay: VirtualOverlay, entry: Entry): void {
    if (!this.#network.isMember(entry.peerId)) return;
    if (this.learn(entry)) this.#network.keep(overlay, entry.peerId);
  }
}

function bug(error: unknown): never {
  throw error; // A router rejects nothing: it ends the simulation.
}

/** Gives every node what it would know after long: its neighbourhood, and of each distance as many as the table takes. */
export function settle(routings: readonly VirtualRouting[], network: VirtualNetwork): void {
  const placed = routings.map(({ self }) => self).sort((left, right) => Buffer.compare(left.position, right.position));
  const { random } = network;
  const split = (low: number, high: number, bit: number): number => {
    let [from, to] = [low, high];
    while (from < to) {
      const middle = (from + to) >> 1;
      const byte = placed[middle]?.position[bit >> 3] ?? 0;
      if (((byte >> (7 - (bit & 7))) & 1) === 1) to = middle;
      else from = middle + 1;
    }
    return from;
  };
  for (const routing of routings) {
    const { position } = routing.self;
    for (const { peerId } of network.table.closest(position, 1 + routing.table.siblings)) {
      const entry = network.table.get(peerId);
      if (entry !== undefined) routing.learn(entry);
    }
    let [low, high] = [0, placed.length];
    for (let bit = 0; high - low > routing.table.siblings; bit += 1) {
      const middle = split(low, high, bit);
      const upper = (((position[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) === 1;
      const [from, to] = upper ? [low, middle] : [middle, high];
      const most = Math.min(20, to - from);
      const picked = new Set<number>();
      while (picked.size < most) picked.add(from + random.below(to - from));
      for (const at of picked) routing.learn(placed[at] as Entry);
      [low, high] = upper ? [middle, high] : [low, middle];
    }
  }
}
