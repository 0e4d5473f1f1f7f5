import { decode, encode } from '@ipld/dag-cbor';
import type { Database, RootDatabase } from 'lmdb';
import type { Trust } from '../identity/certificate.ts';
import { type CheckedEntry, checkEntry, entryHash, supersedes } from './directory.ts';

/**
 * Directory entries on disk (lmdb): the best one of each address. Checked again whenever they are read, because revocation and time move on.
 * An entry is durable when its promise resolves.
 */
export class EntryDisk {
  readonly #root: RootDatabase<Buffer, string>;
  readonly #entries: Database<Buffer, Uint8Array>;

  constructor(root: RootDatabase<Buffer, string>) {
    this.#root = root;
    this.#entries = root.openDB<Buffer, Uint8Array>('entries', { encoding: 'binary', keyEncoding: 'binary' });
  }

  /** Keeps a checked entry unless a better one is here; answers the one that is here afterwards. */
  put(entry: CheckedEntry, trust: Trust): Promise<CheckedEntry> {
    return this.#root.transaction(() => {
      const here = this.get(entry.key, trust);
      if (here !== undefined && !supersedes(entry, here)) return here;
      const { certificate, record } = entry.entry;
      this.#entries.putSync(entry.key, Buffer.from(encode([certificate, record ?? null])));
      return entry;
    });
  }

  /** The entry under a key; undefined where there is none, or none that holds (expired, damaged). */
  get(key: Uint8Array, trust: Trust): CheckedEntry | undefined {
    const bytes = this.#entries.get(key);
    const entry = bytes === undefined ? undefined : read(bytes);
    const checked = entry === undefined ? undefined : checkEntry(entry, trust);
    return checked !== undefined && Buffer.compare(checked.key, key) === 0 ? checked : undefined;
  }

  /** The hash of what lies under a key, without proving it: to compare many with what another node has. Undefined for nothing and for what is damaged. */
  hash(key: Uint8Array): Uint8Array | undefined {
    const bytes = this.#entries.get(key);
    const entry = bytes === undefined ? undefined : read(bytes);
    return entry === undefined ? undefined : entryHash(entry);
  }

  /** Whether something lies under the key that no longer reads: then "none" would be a lie. An expired entry is none. */
  isDamaged(key: Uint8Array): boolean {
    const bytes = this.#entries.get(key);
    return bytes !== undefined && read(bytes) === undefined;
  }

  page(after: Uint8Array | undefined, limit: number): Uint8Array[] {
    const start = after === undefined ? {} : { start: Buffer.concat([after, new Uint8Array(1)]) };
    return [...this.#entries.getKeys({ ...start, limit, snapshot: false })].map((key) => Uint8Array.from(key));
  }

  stats(): { entries: number } {
    return { entries: this.#entries.getKeysCount() };
  }
}

function read(bytes: Uint8Array): { certificate: Uint8Array; record?: Uint8Array } | undefined {
  try {
    const value: unknown = decode(bytes);
    if (!Array.isArray(value)) return undefined;
    const [certificate, record] = value as readonly unknown[];
    if (!(certificate instanceof Uint8Array)) return undefined;
    return record instanceof Uint8Array ? { certificate, record } : { certificate };
  } catch {
    return undefined;
  }
}
