import { lookup } from '../../node/overlay/lookup.ts';
import { PositionIndex } from '../../node/overlay/position-index.ts';
import { patienceMs, Router } from '../../node/overlay/router.ts';
import { type Contact, commonBits, defaultLimits, RoutingTable } from '../../node/overlay/routing-table.ts';
import type { Churn } from './churn.ts';
import { Distribution } from './distribution.ts';
import { SeededRandom } from './seeded-random.ts';
import { VirtualTime } from './virtual-time.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const medianMs = 20;
// As the overlay: a question to one that is away ends with its deadline.
const askMs = 3_000;
const wanted = 3;
// What any node has met before the simulation begins, beside its neighbours: offered to its table, which keeps what it keeps.
const metBefore = 400;

export interface LookupRun {
  readonly seed: number;
  readonly nodes: number;
  readonly minutes: number;
  readonly lookups: number;
  /** Nodes that keep their part of the ring known, as all do in a real one, and whose questions are counted. */
  readonly observed: number;
  /** Of all nodes: name only each other. */
  readonly liars: number;
  readonly churn: Churn;
}

export interface LookupFigures {
  /** Lookups that found exactly the three nearest of all certified nodes, up or down. */
  readonly right: number;
  readonly hops: Distribution;
  readonly asked: Distribution;
  readonly ms: Distribution;
  /** Contacts in a routing table. */
  readonly state: Distribution;
  /** Questions that keep the table fresh, per observed node that is up and hour. */
  readonly maintenance: number;
}

class Peer {
  readonly contact: Contact;
  readonly table: RoutingTable<Contact>;
  readonly lies: boolean;
  router: Router<Contact> | undefined;
  up = true;
  asks = 0;

  constructor(contact: Contact, lies: boolean) {
    this.contact = contact;
    this.lies = lies;
    this.table = new RoutingTable<Contact>(contact.position);
  }
}

/** Lookups by the overlay's own router, routing tables and paths, in a ring whose machines come and go. */
export async function runLookups(run: LookupRun): Promise<LookupFigures> {
  const time = new VirtualTime(Date.UTC(2026, 0, 1));
  const uninstall = time.install();
  try {
    return await new LookupSimulation(run, time).measure();
  } finally {
    uninstall();
  }
}

class LookupSimulation {
  readonly #run: LookupRun;
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #peers: Peer[];
  readonly #byId: Map<string, Peer>;
  readonly #all = new PositionIndex<Contact>();
  readonly #liars = new PositionIndex<Contact>();

  constructor(run: LookupRun, time: VirtualTime) {
    this.#run = run;
    this.#time = time;
    this.#random = new SeededRandom(run.seed);
    this.#peers = Array.from({ length: run.nodes }, (_, n) => {
      const contact = { peerId: `n${n}`, position: this.#random.bytes(32), owner: `o${n}` };
      return new Peer(contact, this.#random.next() < run.liars);
    });
    this.#byId = new Map(this.#peers.map((peer) => [peer.contact.peerId, peer]));
    for (const { contact, lies } of this.#peers) {
      this.#all.put(contact);
      if (lies) this.#liars.put(contact);
    }
  }

  /** Of what it meets by chance a table takes twenty a distance: more are not offered here, only to save time. */
  #meet({ table, contact }: Peer): void {
    const taken = new Map<number, number>();
    for (let met = 0; met < metBefore; met += 1) {
      const other = this.#random.pick(this.#peers).contact;
      const bits = commonBits(contact.position, other.position);
      const before = taken.get(bits) ?? 0;
      if (before < defaultLimits.perBucket) table.offer(other);
      taken.set(bits, before + 1);
    }
  }

  async measure(): Promise<LookupFigures> {
    const { minutes, lookups, observed } = this.#run;
    for (const peer of this.#peers) {
      for (const near of this.#all.nearest(peer.contact.position, peer.table.siblings + 1, () => true))
        peer.table.offer(near);
      this.#meet(peer);
      this.#live(peer, true);
    }
    const watched = this.#random.shuffled(this.#peers).slice(0, observed);
    for (const peer of watched) this.#maintain(peer);
    // Joining asks more than staying: the first half hour is not counted.
    await this.#time.run(this.#time.now() + 30 * minuteMs);
    for (const peer of watched) peer.asks = 0;
    const found = { right: 0, hops: new Distribution(), asked: new Distribution(), ms: new Distribution() };
    let upHours = 0;
    for (let minute = 0; minute < minutes; minute += 1) {
      upHours += watched.filter(({ up }) => up).length / 60;
      for (let n = 0; n < lookups / minutes; n += 1)
        this.#time.after(this.#random.next() * minuteMs, () => this.#measureOne(found));
      await this.#time.run(this.#time.now() + minuteMs);
    }
    const maintenance = watched.reduce((sum, { asks }) => sum + asks, 0) / upHours;
    // The last ones end.
    await this.#time.run(this.#time.now() + minuteMs);
    return {
      ...found,
      right: found.right / Math.max(1, found.asked.count),
      state: new Distribution(this.#peers.map(({ table }) => table.size)),
      maintenance,
    };
  }

  #measureOne(found: { right: number; hops: Distribution; asked: Distribution; ms: Distribution }): void {
    const from = this.#random.pick(this.#peers.filter(({ up, lies }) => up && !lies));
    const key = this.#random.bytes(32);
    const began = this.#time.now();
    lookup<Contact>(key, {
      // Not counted as maintenance.
      ask: (peer) => this.#ask(from, peer, key, 20, 0),
      seeds: from.table.closest(key, 20),
      count: wanted,
      patienceMs,
    }).then(
      ({ nearest, asked, hops }) => {
        const truth = this.#all.nearest(key, wanted, () => true).map(({ peerId }) => peerId);
        if (nearest.map(({ peerId }) => peerId).join() === truth.join()) found.right += 1;
        found.asked.add(asked);
        found.hops.add(hops);
        found.ms.add(this.#time.now() - began);
      },
      (error: unknown) => {
        throw error;
      },
    );
  }

  /** A question and its answer; who asks is known to the one asked from then on, and who is named to the one who asks. */
  async #ask(from: Peer, to: Contact, key: Uint8Array, count: number, counted: number): Promise<readonly Contact[]> {
    from.asks += counted;
    await this.#time.sleep(this.#random.logNormal(medianMs, 0.5));
    const peer = this.#byId.get(to.peerId);
    if (peer?.up !== true) {
      await this.#time.sleep(askMs);
      throw new Error('away');
    }
    if (!peer.table.has(from.contact.peerId)) peer.table.offer(from.contact);
    const named = peer.lies
      ? this.#liars.nearest(key, count, () => true)
      : [...peer.table.closest(key, count), peer.contact];
    await this.#time.sleep(this.#random.logNormal(medianMs, 0.5));
    for (const one of named) if (!from.table.has(one.peerId)) from.table.offer(one);
    return named.filter(({ peerId }) => peerId !== from.contact.peerId);
  }

  #maintain(peer: Peer): void {
    const router = (): Router<Contact> =>
      new Router<Contact>({
        self: peer.contact.position,
        table: peer.table,
        known: (key, count) => peer.table.closest(key, count),
        holds: (peerId) => peer.table.has(peerId),
        ask: (to, key, count) => this.#ask(peer, to, key, count, 1),
        now: this.#time.now,
        random: this.#random.next,
      });
    this.#time.after(this.#random.next() * minuteMs, () => {
      this.#time.after(0, () => this.#tick(peer, router), minuteMs);
    });
  }

  #tick(peer: Peer, router: () => Router<Contact>): void {
    if (!peer.up) {
      peer.router?.stop();
      peer.router = undefined;
      return;
    }
    peer.router ??= router();
    peer.router.maintain().catch((error: unknown) => {
      throw error;
    });
  }

  /** Up and down for ever, from a state in which as many are down as are down on average. */
  #live(peer: Peer, first: boolean): void {
    const { sessionHours, downHours } = this.#run.churn;
    if (first) peer.up = this.#random.next() >= downHours / (sessionHours + downHours);
    const ms = this.#random.exponential((peer.up ? sessionHours : downHours) * hourMs);
    this.#time.after(ms, () => {
      peer.up = !peer.up;
      this.#live(peer, false);
    });
  }
}
