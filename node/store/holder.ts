import { setImmediate as breath } from 'node:timers/promises';
import type { Trust } from '../identity/certificate.ts';
import { sha256 } from './block-cipher.ts';
import type { LeasedBlock } from './block-disk.ts';
import type { Lease } from './content.ts';
import { type CheckedEntry, checkEntry, type DirectoryEntry } from './directory.ts';
import type { Disk } from './disk.ts';
import { StoreFault } from './fault.ts';
import { checkHead, type Head } from './head.ts';
import type { HeadVerdict } from './head-disk.ts';
import { type Kind, stampBytes } from './wire.ts';

export interface Item {
  readonly key: Uint8Array;
  /** Absent or empty for blocks: what lies under their key never changes. */
  readonly stamp?: Uint8Array | undefined;
}

/** What can be asked of a node that holds copies, this one or another. Answers of others are verified before they are given. */
export interface Holder {
  /** Resolves when every block is durable there. */
  insert(blocks: readonly LeasedBlock[]): Promise<void>;
  fetch(key: Uint8Array): Promise<Uint8Array | undefined>;
  /** For each item, whether the holder would take what the asker has. */
  lacks(kind: Kind, items: readonly Item[]): Promise<boolean[]>;
  putHead(head: Head): Promise<HeadVerdict>;
  heads(key: Uint8Array): Promise<Head[]>;
  /** Resolves, when durable there, with the entry the holder now has. */
  putEntry(entry: DirectoryEntry): Promise<CheckedEntry>;
  entry(key: Uint8Array): Promise<CheckedEntry | undefined>;
}

// A head of 60 KB is read and hashed in 0.1 ms: others have their turn after some of them.
const lacksAtOnce = 100;

/** The first bytes of a hash: enough to see that two nodes have different things under one key. */
export function stampOf(hash: Uint8Array): Uint8Array {
  return hash.subarray(0, stampBytes);
}

/** This node as a holder. It believes no one: what it keeps it has checked itself (DESIGN §6). */
export class LocalHolder implements Holder {
  readonly #disk: Disk;
  readonly #trust: () => Trust;
  /** Throws while this node cannot know what others gave it to keep, so that its "none" would be a guess. */
  readonly #certainOfAbsence: () => void;

  constructor(disk: Disk, trust: () => Trust, certainOfAbsence: () => void) {
    this.#disk = disk;
    this.#trust = trust;
    this.#certainOfAbsence = certainOfAbsence;
  }

  /** Keeps bytes under the key they hash to. */
  keep(blocks: readonly { bytes: Uint8Array; leases: readonly Lease[] }[]): Promise<void> {
    return this.insert(blocks.map(({ bytes, leases }) => ({ key: sha256(bytes), bytes, leases })));
  }

  insert(blocks: readonly LeasedBlock[]): Promise<void> {
    return this.#disk.blocks.put(blocks);
  }

  /** A damaged copy is no "none": it throws, and whoever asks looks elsewhere. */
  async fetch(key: Uint8Array): Promise<Uint8Array | undefined> {
    const found = await this.#disk.blocks.get(key);
    if (found.kind === 'block') return found.bytes;
    if (found.kind === 'damaged') throw new StoreFault('unavailable', 'the copy here was damaged and is set aside');
    this.#certainOfAbsence();
    return undefined;
  }

  async lacks(kind: Kind, items: readonly Item[]): Promise<boolean[]> {
    const lacking: boolean[] = [];
    for (const [index, { key, stamp }] of items.entries()) {
      if (index % lacksAtOnce === lacksAtOnce - 1) await breath();
      lacking.push(this.#lacks(kind, key, stamp ?? new Uint8Array()));
    }
    return lacking;
  }

  #lacks(kind: Kind, key: Uint8Array, stamp: Uint8Array): boolean {
    const same = (hash: Uint8Array): boolean => Buffer.compare(stampOf(hash), stamp) === 0;
    if (kind === 'block') return !this.#disk.blocks.has(key);
    if (kind === 'head') return !this.#disk.heads.hashes(key).some(same);
    const here = this.#disk.entries.hash(key);
    return here === undefined || !same(here);
  }

  putHead(head: Head): Promise<HeadVerdict> {
    return this.#disk.heads.put(head);
  }

  async heads(key: Uint8Array): Promise<Head[]> {
    const heads = this.#disk.heads.get(key);
    if (heads.length > 0) return heads;
    if (this.#disk.heads.isDamaged(key)) throw new StoreFault('unavailable', 'the head here is damaged');
    this.#certainOfAbsence();
    return heads;
  }

  async putEntry(entry: DirectoryEntry): Promise<CheckedEntry> {
    const trust = this.#trust();
    const checked = checkEntry(entry, trust);
    if (checked === undefined)
      throw new StoreFault('invalid', 'not an entry that the authority of the ring vouches for');
    return this.#disk.entries.put(checked, trust);
  }

  async entry(key: Uint8Array): Promise<CheckedEntry | undefined> {
    const entry = this.#disk.entries.get(key, this.#trust());
    if (entry !== undefined) return entry;
    if (this.#disk.entries.isDamaged(key)) throw new StoreFault('unavailable', 'the entry here is damaged');
    this.#certainOfAbsence();
    return undefined;
  }
}

/** The head in bytes from a peer; throws StoreFault `invalid` for a forged one. */
export function headFrom(bytes: Uint8Array): Head {
  const head = checkHead(bytes);
  if (head === undefined) throw new StoreFault('invalid', 'not a head that its writer signed');
  return head;
}
