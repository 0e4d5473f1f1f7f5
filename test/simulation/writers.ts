import { signingKeyFromSeed } from '../../node/identity/keys.ts';
import { newestHeadsOf, readHead } from '../../node/log/following.ts';
import { type Log, openLog } from '../../node/log/log.ts';
import type { Store } from '../../node/store/store.ts';
import { MemoryShelf } from '../node/log/memory-ring.ts';
import { address, silentLog } from '../node/overlay/fake-overlay.ts';
import type { Population } from './churn.ts';
import { Distribution } from './distribution.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { VirtualNode } from './virtual-node.ts';
import type { VirtualTime } from './virtual-time.ts';

const appendEveryMs = 20 * 60_000;
const readersAsked = 5;
const name = 'diary';

export interface WriterFigures {
  readonly writers: number;
  readonly appended: number;
  readonly failed: number;
  readonly appendMs: Distribution;
  /** Logs that no reader could read for sure while machines were away. */
  readonly unsure: number;
  /** With all machines back: logs of which more than one newest head is left, that have none, and records acknowledged that are in none of their heads. */
  readonly forked: number;
  readonly lost: number;
  readonly recordsLost: number;
}

interface Session {
  readonly store: Store;
  readonly log: Promise<Log>;
}

/** A person with two machines, both of which write the one log whenever they are up. */
class Writer {
  readonly signing;
  readonly secret: Uint8Array;
  readonly machines: readonly number[];
  readonly acknowledged = new Set<string>();
  readonly sessions = new Map<number, Session>();
  written = 0;

  constructor(random: SeededRandom, nodes: number) {
    this.signing = signingKeyFromSeed(random.bytes(32));
    this.secret = random.bytes(32);
    this.machines = [random.below(nodes), random.below(nodes)];
  }
}

/** Logs that are written while machines come and go, by the product's code on machines that may be gone at any moment. */
export class Writers {
  readonly #ring: Population;
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #writers: readonly Writer[];
  readonly #shelves = new WeakMap<VirtualNode, MemoryShelf>();
  readonly #ms = new Distribution();
  #failed = 0;

  constructor(ring: Population, time: VirtualTime, random: SeededRandom, count: number) {
    this.#ring = ring;
    this.#time = time;
    this.#random = random;
    this.#writers = Array.from({ length: count }, () => new Writer(random, ring.nodes.length));
  }

  /** Each log is begun while all are up, as a user's is when he is admitted. */
  async begin(): Promise<void> {
    await Promise.all(this.#writers.map(async (writer) => this.#open(writer, writer.machines[0] ?? 0, true)));
    for (const writer of this.#writers) this.#next(writer);
  }

  #next(writer: Writer): void {
    this.#time.after(this.#random.exponential(appendEveryMs), () => {
      this.#next(writer);
      const up = writer.machines.filter((at) => this.#ring.nodes[at]?.store !== undefined);
      if (up.length > 0) this.#append(writer, this.#random.pick(up));
    });
  }

  #append(writer: Writer, at: number): void {
    const began = this.#time.now();
    const text = `${writer.written++}`;
    this.#open(writer, at, false)
      .then(async (log) => log?.append([Buffer.from(text)]))
      .then(
        (done) => {
          if (done === undefined) return;
          writer.acknowledged.add(text);
          this.#ms.add(this.#time.now() - began);
        },
        () => {
          this.#failed += 1;
        },
      );
  }

  async #open(writer: Writer, at: number, create: boolean): Promise<Log | undefined> {
    const node = this.#ring.nodes[at];
    if (node?.store === undefined) return undefined;
    const known = writer.sessions.get(at);
    if (known?.store === node.store) return known.log;
    const disk = this.#shelves.get(node) ?? new MemoryShelf();
    this.#shelves.set(node, disk);
    const { signing, secret } = writer;
    const owner = address('alice@example.org');
    const how = { store: node.store, disk, signing, secret, name, owner, create, now: this.#time.now, log: silentLog };
    const session = { store: node.store, log: openLog(how) };
    writer.sessions.set(at, session);
    return session.log.catch((error: unknown) => {
      if (writer.sessions.get(at) === session) writer.sessions.delete(at);
      throw error;
    });
  }

  /** Logs that cannot be read for sure now, because too many of their holders are away. */
  async unsure(): Promise<number> {
    const found = await Promise.all(this.#writers.map(async (writer) => this.#read(writer)));
    return found.filter((one) => one === undefined).length;
  }

  /** What readers find of all that was acknowledged, once everyone is back. */
  async check(unsure: number): Promise<WriterFigures> {
    const found = await Promise.all(this.#writers.map(async (writer) => this.#read(writer)));
    return {
      writers: this.#writers.length,
      appended: this.#writers.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0),
      failed: this.#failed,
      appendMs: this.#ms,
      unsure,
      forked: found.filter((one) => (one?.heads ?? 0) > 1).length,
      lost: found.filter((one) => one === undefined).length,
      recordsLost: found.reduce((sum, one) => sum + (one?.lost ?? 0), 0),
    };
  }

  async #read(writer: Writer): Promise<{ heads: number; lost: number } | undefined> {
    for (let reader = 0; reader < readersAsked; reader += 1) {
      const { store } = this.#random.pick(this.#ring.running());
      if (store === undefined) continue;
      try {
        const what = { writer: writer.signing.public, secret: writer.secret, name };
        const heads = await newestHeadsOf({ ...what, store });
        const there = new Set<string>();
        for (const head of heads)
          for await (const item of readHead(store, what, head).read(0))
            if (item.kind === 'record') there.add(Buffer.from(item.record).toString());
        if (heads.length > 0)
          return { heads: heads.length, lost: [...writer.acknowledged].filter((one) => !there.has(one)).length };
      } catch {
        // Too few holders answered him; another may have more luck.
      }
    }
    return undefined;
  }
}
