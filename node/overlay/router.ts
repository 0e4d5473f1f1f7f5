import { type LookupResult, lookup } from './lookup.ts';
import { type Contact, commonBits, type RoutingTable } from './routing-table.ts';

export interface RouterParts<C extends Contact> {
  /** Where this node stands. */
  readonly self: Uint8Array;
  readonly table: RoutingTable<C>;
  /** The nearest to a key of all that this node knows, beyond the table too. */
  readonly known: (key: Uint8Array, count: number) => readonly C[];
  /** Whether a node that was found is still known. */
  readonly holds: (peerId: string) => boolean;
  /** Asks a node for the `count` nearest that it knows. What comes back is verified. Rejects when it does not answer. */
  readonly ask: (peer: C, key: Uint8Array, count: number, signal: AbortSignal) => Promise<readonly C[]>;
  readonly now: () => number;
  readonly random: () => number;
  /** How soon the neighbourhood is looked at for the second time; then doubling. Soon after joining, seldom where one has been there for long. */
  readonly againMs?: number;
}

// What a question names: as many as placement looks at for k = 5. All of a neighbourhood is asked for only around oneself.
const namedPerAnswer = 20;
// Seeds for four paths, five each: enough that a path goes on where its first ones are away.
const seeds = 20;
// A ring of 10,000 needs three hops, of a fraction of a second each; with silent nodes on all paths an answer may take this long.
const lookupMs = 20_000;
// A dial and a question between continents take less. One machine in three may be away, and waiting out each would make seconds of milliseconds.
export const patienceMs = 1_000;
// Side by side: more would be questions to the same few neighbours of this node.
const maxAtOnce = 16;
// Certificates are given and taken by people, so who is nearest to a key changes seldom; a newcomer is seen at the latest after this.
const freshMs = 5 * 60_000;
// A few names each; a walk of repair over foreign keys asks about a page of some hundred at a time.
const maxFresh = 2_000;
// The neighbourhood must be whole, or keys near to us are placed wrongly: newcomers announce themselves to it, and this finds those who could not.
export const neighboursEveryMs = 10 * 60_000;
// At first sooner, doubling: of two that join at the same time neither finds the other by a first look.
const neighboursAgainMs = 2_000;
// One distance a round, so each of some ten in two hours, beside what lookups bring: faster than a ring with sessions of 12 h changes.
const bucketEveryMs = 10 * 60_000;
const asksForNeighbours = 8;

/**
 * Finds the nearest to a key in a ring that is larger than a node's memory, and keeps this node's part of the ring known. Knows nothing of
 * connections or certificates; the simulation runs the same code.
 */
export class Router<C extends Contact> {
  readonly #parts: RouterParts<C>;
  readonly #fresh = new Map<
    string,
    { readonly at: number; readonly count: number; readonly names: readonly string[] }
  >();
  readonly #running = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  readonly #stop = new AbortController();
  #atOnce = 0;
  #neighboursAt = Number.NEGATIVE_INFINITY;
  #neighboursMs: number;
  #bucketAt = Number.NEGATIVE_INFINITY;
  #bucket = 0;

  constructor(parts: RouterParts<C>) {
    this.#parts = parts;
    this.#neighboursMs = parts.againMs ?? neighboursAgainMs;
  }

  /** Whether the `count` nearest to `key` are certainly among those that are kept: it lies in this node's own neighbourhood. */
  isLocal(key: Uint8Array, count: number): boolean {
    if (!this.#hasNeighbours) return false;
    const { table, self } = this.#parts;
    const bits = table.wholeBits;
    return commonBits(self, key) >= bits && 1 + table.siblingsSharing(bits) >= count;
  }

  /** Resolves when the `count` nearest to `key` are known here; undefined when they are already. Never rejects. */
  locate(key: Uint8Array, count: number): Promise<void> | undefined {
    if (this.isLocal(key, count)) return undefined;
    const name = Buffer.from(key).toString('base64');
    const { now, holds } = this.#parts;
    const known = this.#fresh.get(name);
    if (known !== undefined && known.count >= count && now() - known.at < freshMs && known.names.every(holds))
      return undefined;
    const running = this.#running.get(name);
    if (running !== undefined) return running;
    const found = this.#find(key, count, name).finally(() => this.#running.delete(name));
    this.#running.set(name, found);
    return found;
  }

  /** What has become due: the neighbourhood, the next distance. To be called every minute or so, and after joining. */
  async maintain(): Promise<void> {
    const { self, now, random } = this.#parts;
    // A quarter to either side, so that a ring that was started at once does not ask at once for ever.
    const due = (at: number, everyMs: number): boolean => now() - at >= everyMs * (0.75 + random() / 2);
    if (due(this.#neighboursAt, this.#neighboursMs)) {
      const { silent } = await this.lookup(self, asksForNeighbours);
      // Alone is not the same as having seen all: nobody answered, so nothing is certain yet.
      if (silent.length < this.#parts.table.size || this.#parts.table.size === 0) this.#neighboursAt = now();
      this.#neighboursMs = Math.min(2 * this.#neighboursMs, neighboursEveryMs);
    }
    if (due(this.#bucketAt, bucketEveryMs)) {
      this.#bucketAt = now();
      // Beyond the neighbourhood's own bits there is nobody whom it does not know.
      this.#bucket = this.#bucket >= this.#parts.table.wholeBits ? 0 : this.#bucket + 1;
      await this.lookup(keyAt(self, this.#bucket, random), 1);
    }
  }

  /** Much may have changed: looks often again, as after joining. */
  hurry(): void {
    this.#neighboursMs = neighboursAgainMs;
    this.#fresh.clear();
  }

  /** Members of the ring by how densely the neighbourhood is settled; undefined before it is known. */
  estimate(): number | undefined {
    if (!this.#hasNeighbours) return undefined;
    const bits = this.#parts.table.wholeBits;
    return (1 + this.#parts.table.siblingsSharing(bits)) * 2 ** bits;
  }

  stop(): void {
    this.#stop.abort();
    for (const go of this.#waiting.splice(0)) go();
  }

  async lookup(key: Uint8Array, count: number): Promise<LookupResult<C>> {
    const { table, known, ask, self } = this.#parts;
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), lookupMs);
    const signal = AbortSignal.any([this.#stop.signal, over.signal]);
    const around = commonBits(self, key) === self.length * 8;
    try {
      const found = await lookup<C>(key, {
        ask: (peer, wanted) => ask(peer, wanted, around ? table.siblings : namedPerAnswer, signal),
        seeds: known(key, seeds),
        count,
        signal,
        patienceMs,
      });
      for (const { peerId } of found.silent) table.failed(peerId);
      return found;
    } finally {
      clearTimeout(timer);
    }
  }

  get #hasNeighbours(): boolean {
    return this.#neighboursAt !== Number.NEGATIVE_INFINITY;
  }

  async #find(key: Uint8Array, count: number, name: string): Promise<void> {
    while (this.#atOnce >= maxAtOnce && !this.#stop.signal.aborted)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#atOnce += 1;
    try {
      const { nearest } = await this.lookup(key, count);
      if (nearest.length === 0 || this.#stop.signal.aborted) return;
      this.#fresh.delete(name);
      this.#fresh.set(name, { at: this.#parts.now(), count, names: nearest.map(({ peerId }) => peerId) });
      const oldest = this.#fresh.size > maxFresh ? this.#fresh.keys().next().value : undefined;
      if (oldest !== undefined) this.#fresh.delete(oldest);
    } finally {
      this.#atOnce -= 1;
      this.#waiting.shift()?.();
    }
  }
}

/** A random key that shares exactly `bits` bits with `position`. */
function keyAt(position: Uint8Array, bits: number, random: () => number): Uint8Array {
  const key = position.map(() => Math.floor(random() * 256));
  for (let bit = 0; bit <= bits; bit += 1) {
    const mask = 0x80 >> (bit & 7);
    const at = bit >> 3;
    const wanted = bit === bits ? ~(position[at] ?? 0) : (position[at] ?? 0);
    key[at] = ((key[at] ?? 0) & ~mask) | (wanted & mask);
  }
  return key;
}
