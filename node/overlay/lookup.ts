import { compareDistance } from './placement.ts';

/** A node as a lookup sees it: proven to be certified by whoever made the contact, and at the position that its key gives it. */
export interface Found {
  readonly peerId: string;
  readonly position: Uint8Array;
}

export interface LookupParts<C extends Found> {
  /**
   * The nodes that `peer` knows nearest to `key`, each of them verified by its certificate. Rejects when the peer does not
   * answer; the deadline of one question is its own.
   */
  readonly ask: (peer: C, key: Uint8Array) => Promise<readonly C[]>;
  /** Known from the start: the nearest of the local view, some times as many as there are paths. */
  readonly seeds: readonly C[];
  /** How many of the nearest are wanted. */
  readonly count: number;
  readonly paths?: number;
  /** A path does not wait longer than this for one answer; a later one still counts while the lookup goes on. */
  readonly patienceMs?: number;
  /** No further question is asked once it is aborted; what was found until then is the answer. */
  readonly signal?: AbortSignal;
}

export interface LookupResult<C> {
  /** The nearest of all that any path heard of, nearest first. */
  readonly nearest: readonly C[];
  /** Questions asked, and how many of them one after the other at most. */
  readonly asked: number;
  readonly hops: number;
  /** Who did not answer. */
  readonly silent: readonly C[];
}

// With a quarter of the nodes lying and 3 hops a path, a path is honest throughout with 0.75³ = 0.42: one of 4 with 0.89, and
// the paths end at the key, where all honest neighbours say the same. S/Kademlia (2007) §4.3 takes 4 to 8.
export const defaultPaths = 4;
// An answer names at most so many: the neighbourhood of the one who answers. More is a liar's flood.
export const maxNamed = 32;
// Questions one after the other: log2 of ten million; a path that gets no nearer ends long before.
const maxHops = 24;

type Path<C> = { readonly known: Map<string, C> };

/**
 * The `count` nodes nearest to `key`, by `paths` chains of questions of which none asks a node that another has asked, so
 * that a liar is on one of them only. Liars can leave nodes out but not make them up: what the paths heard is united,
 * and the nearest of the union are asked too, until none of them names a nearer one.
 */
export async function lookup<C extends Found>(key: Uint8Array, parts: LookupParts<C>): Promise<LookupResult<C>> {
  return new Lookup(key, parts).run();
}

class Lookup<C extends Found> {
  readonly #key: Uint8Array;
  readonly #parts: LookupParts<C>;
  readonly #all = new Map<string, C>();
  readonly #asked = new Set<string>();
  readonly #silent = new Map<string, C>();

  constructor(key: Uint8Array, parts: LookupParts<C>) {
    this.#key = key;
    this.#parts = parts;
  }

  async run(): Promise<LookupResult<C>> {
    const { seeds, count, paths = defaultPaths } = this.#parts;
    const chains = Array.from({ length: paths }, (): Path<C> => ({ known: new Map() }));
    // Dealt out like cards: each path begins with some of the nearest, and no two with the same.
    this.#sorted(seeds).forEach((seed, index) => {
      this.#all.set(seed.peerId, seed);
      chains[index % paths]?.known.set(seed.peerId, seed);
    });
    const hops = await Promise.all(chains.map((path) => this.#follow(path)));
    const last = await this.#close();
    const nearest = this.#sorted(this.#all.values()).slice(0, count);
    return { nearest, asked: this.#asked.size, hops: Math.max(...hops) + last, silent: [...this.#silent.values()] };
  }

  /** Asks ever nearer nodes until the `count` nearest that this path knows have been asked, by it or by another. */
  async #follow({ known }: Path<C>): Promise<number> {
    for (let hops = 0; hops < maxHops; hops += 1) {
      const next = this.#next(known.values(), 1)[0];
      if (next === undefined) return hops;
      for (const named of await this.#ask(next)) known.set(named.peerId, named);
    }
    return maxHops;
  }

  /** The paths united: the nearest of all are asked at once, whatever path they came by, until they name none that is nearer. */
  async #close(): Promise<number> {
    for (let hops = 0; hops < maxHops; hops += 1) {
      const next = this.#next(this.#all.values(), this.#parts.count);
      if (next.length === 0) return hops;
      await Promise.all(next.map((one) => this.#ask(one)));
    }
    return maxHops;
  }

  /** Those not yet asked among the `count` nearest that may answer. */
  #next(known: Iterable<C>, most: number): C[] {
    if (this.#parts.signal?.aborted === true) return [];
    const answering = [...known].filter(({ peerId }) => !this.#silent.has(peerId));
    return this.#sorted(answering)
      .slice(0, this.#parts.count)
      .filter(({ peerId }) => !this.#asked.has(peerId))
      .slice(0, most);
  }

  async #ask(peer: C): Promise<readonly C[]> {
    this.#asked.add(peer.peerId);
    const answered = this.#parts.ask(peer, this.#key).then(
      (answer) => {
        const named = answer.slice(0, maxNamed);
        for (const one of named) this.#all.set(one.peerId, one);
        this.#silent.delete(peer.peerId);
        return named;
      },
      () => {
        // Away, or broken: it stays a member and may be among the nearest, but leads nowhere.
        this.#silent.set(peer.peerId, peer);
        return [];
      },
    );
    const { patienceMs } = this.#parts;
    return patienceMs === undefined ? answered : this.#notLonger(answered, peer, patienceMs);
  }

  async #notLonger(answered: Promise<readonly C[]>, peer: C, patienceMs: number): Promise<readonly C[]> {
    const late = Promise.withResolvers<readonly C[]>();
    const timer = setTimeout(() => {
      this.#silent.set(peer.peerId, peer);
      late.resolve([]);
    }, patienceMs);
    return Promise.race([answered, late.promise]).finally(() => clearTimeout(timer));
  }

  #sorted(contacts: Iterable<C>): C[] {
    return [...contacts].sort((left, right) => compareDistance(this.#key, left.position, right.position));
  }
}
