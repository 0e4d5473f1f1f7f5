import type { Database, RootDatabase } from 'lmdb';
import { sha256 } from './block-cipher.ts';
import { checkHead, type Head, newestHeads } from './head.ts';

export type HeadVerdict =
  | { readonly kind: 'kept' }
  /** `stale`: a newer one lies here; `fork`: another of the same version does. `heads` are those. */
  | { readonly kind: 'stale' | 'fork'; readonly heads: readonly Head[] };

// Evidence is proof with two heads; more of the same kind prove nothing further.
const maxForksPerKey = 4;
// Logs that grow at the moment; 2 MB with the longest heads.
const maxRecent = 32;

/**
 * Heads on disk (lmdb): the newest of each key, and as evidence every other one of a version that has two. The holder's own check
 * (DESIGN §6): the version only ever increases. A head is durable when its promise resolves.
 */
export class HeadDisk {
  readonly #root: RootDatabase<Buffer, string>;
  readonly #heads: Database<Buffer, Uint8Array>;
  readonly #forks: Database<Buffer, Uint8Array>;
  /** The last heads that were put, by key: each is compared with the next one, and the same octets need not be verified again. Oldest first. */
  readonly #recent = new Map<string, Head>();

  constructor(root: RootDatabase<Buffer, string>) {
    this.#root = root;
    this.#heads = root.openDB<Buffer, Uint8Array>('heads', { encoding: 'binary', keyEncoding: 'binary' });
    this.#forks = root.openDB<Buffer, Uint8Array>('forks', { encoding: 'binary', keyEncoding: 'binary' });
  }

  /** Keeps a head that {@link checkHead} has found good, or says what stands against it. */
  put(head: Head): Promise<HeadVerdict> {
    return this.#root.transaction(() => {
      const here = this.#current(head.key);
      if (here === undefined || here.version < head.version) {
        this.#heads.putSync(head.key, Buffer.from(head.bytes));
        this.#remember(head);
        return { kind: 'kept' };
      }
      if (here.version > head.version) return { kind: 'stale', heads: [here] };
      if (Buffer.compare(here.hash, head.hash) === 0) return { kind: 'kept' };
      const others = this.#evidence(head.key).length;
      if (others < maxForksPerKey) this.#forks.putSync(Buffer.concat([head.key, head.hash]), Buffer.from(head.bytes));
      return { kind: 'fork', heads: [here] };
    });
  }

  /** The newest heads of a key: one, or those of a fork, or none. A damaged one counts as none: the replicas have it. */
  get(key: Uint8Array): Head[] {
    const here = this.#current(key);
    return here === undefined ? [] : newestHeads([here, ...this.#evidence(key)]);
  }

  /** The hashes of what {@link get} gives, without proving it: to compare many with what another node has. A damaged head has a hash of its own. */
  hashes(key: Uint8Array): Uint8Array[] {
    const bytes = this.#heads.get(key);
    if (bytes === undefined) return [];
    return this.#isForked(key) ? this.get(key).map(({ hash }) => hash) : [sha256(bytes)];
  }

  #isForked(key: Uint8Array): boolean {
    const range = { start: key, end: afterAll(key), limit: 1, snapshot: false };
    return [...this.#forks.getKeys(range)].length > 0;
  }

  #current(key: Uint8Array): Head | undefined {
    const bytes = this.#heads.get(key);
    const known = this.#recent.get(nameOf(key));
    if (bytes !== undefined && known !== undefined && Buffer.compare(known.bytes, bytes) === 0) return known;
    const head = bytes === undefined ? undefined : checkHead(bytes);
    return head !== undefined && Buffer.compare(head.key, key) === 0 ? head : undefined;
  }

  #remember(head: Head): void {
    const name = nameOf(head.key);
    this.#recent.delete(name);
    this.#recent.set(name, head);
    const [oldest] = this.#recent.keys();
    if (this.#recent.size > maxRecent && oldest !== undefined) this.#recent.delete(oldest);
  }

  /** Whether the newest head that was kept here no longer reads: then "none" would be a lie. */
  isDamaged(key: Uint8Array): boolean {
    return this.#heads.doesExist(key) && this.#current(key) === undefined;
  }

  #evidence(key: Uint8Array): Head[] {
    const range = this.#forks.getRange({ start: key, end: afterAll(key), snapshot: false });
    return [...range].flatMap(({ value }) => checkHead(value) ?? []);
  }

  page(after: Uint8Array | undefined, limit: number): Uint8Array[] {
    const start = after === undefined ? {} : { start: Buffer.concat([after, new Uint8Array(1)]) };
    return [...this.#heads.getKeys({ ...start, limit, snapshot: false })].map((key) => Uint8Array.from(key));
  }

  stats(): { heads: number; forks: number } {
    return { heads: this.#heads.getKeysCount(), forks: this.#forks.getKeysCount() };
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

/** Behind every key of `forks` that begins with this one. */
function afterAll(key: Uint8Array): Uint8Array {
  return Buffer.concat([key, Buffer.alloc(33, 0xff)]);
}
