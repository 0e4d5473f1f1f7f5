import { setImmediate as breath } from 'node:timers/promises';
import type { Trust } from '../identity/certificate.ts';
import { type Conduct, noConduct } from '../overlay/conduct.ts';
import type { Member } from '../overlay/overlay.ts';
import type { Claims } from './claims.ts';
import { ownerPays } from './claims.ts';
import type { Block, Lease } from './content.ts';
import { type CheckedEntry, checkEntry, type DirectoryEntry } from './directory.ts';
import type { Disk } from './disk.ts';
import { overQuota, StoreFault } from './fault.ts';
import { noteFork } from './fork-proof.ts';
import { checkHead, type Head } from './head.ts';
import type { HeadVerdict } from './head-disk.ts';
import { maxLeasesCarried, type PaidLease, type Payer } from './lease-disk.ts';
import type { Round, StatedRound } from './round.ts';
import { type Kind, stampBytes } from './wire.ts';

export interface Item {
  readonly key: Uint8Array;
  /** Absent or empty for blocks: what lies under their key never changes. */
  readonly stamp?: Uint8Array | undefined;
}

/** A block with leases in identities' names. */
export interface ClaimedBlock extends Block {
  readonly leases: readonly Lease[];
}

/** A block with the leases that one holder knows of. */
export interface Claimed {
  readonly key: Uint8Array;
  readonly leases: readonly Lease[];
}

/** What another holder knows of the same block. */
export interface Standing {
  /** It has a copy, not in the trash, and counts itself among those that should. */
  readonly held: boolean;
  readonly leases: readonly Lease[];
}

/** What can be asked of a node that holds copies, this one or another. Answers of others are verified before they are given. */
export interface Holder {
  /** Resolves when every block is durable there. */
  insert(blocks: readonly ClaimedBlock[]): Promise<void>;
  /** Has a lease on each of these renewed; for each, whether the holder lacks the block. */
  renew(keys: readonly Uint8Array[], lease: Lease): Promise<boolean[]>;
  /** Tells what leases are known here, and learns what the holder knows; maybe of the first ones only. */
  exchange(claimed: readonly Claimed[]): Promise<Standing[]>;
  /** Resolves when the newest round of that identity is durable there. */
  putRound(stated: StatedRound): Promise<void>;
  round(key: Uint8Array): Promise<{ stated: StatedRound; round: Round } | undefined>;
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

// Four weeks, a week of delay and clocks that differ: nobody leases for ever.
const maxLeaseMs = 35 * 86_400_000;

export interface HolderParts {
  readonly disk: Disk;
  readonly trust: () => Trust;
  /** Throws while this node cannot know what others gave it to keep, so that its "none" would be a guess. */
  readonly certainOfAbsence: () => void;
  readonly claims: Claims;
  readonly allowance: () => (payer: Payer) => number;
  /** Whether this node is one of those that should have the key. */
  readonly isProper: (key: Uint8Array) => boolean;
  readonly conduct?: Conduct;
}

/** This node as a holder, for one that asks (itself too). It believes no one: what it keeps it has checked itself (DESIGN §6). */
export class LocalHolder implements Holder {
  readonly #parts: HolderParts;
  readonly #disk: Disk;
  readonly #trust: () => Trust;
  readonly #from: Member;

  constructor(parts: HolderParts, from: Member) {
    this.#parts = parts;
    this.#disk = parts.disk;
    this.#trust = parts.trust;
    this.#from = from;
  }

  /** The same for another that asks. */
  for(from: Member): LocalHolder {
    return new LocalHolder(this.#parts, from);
  }

  #paid({ identity, until, reserve = false }: Lease): PaidLease {
    const latest = this.#trust().now + maxLeaseMs;
    return { identity, until: Math.min(until, latest), reserve, payer: this.#parts.claims.payer(identity, this.#from) };
  }

  /** Throws StoreFault `quota` when the account that would pay for it has no room here; then nothing of it is kept. */
  async insert(blocks: readonly ClaimedBlock[]): Promise<void> {
    const leased = blocks.map(({ key, bytes, leases }) => ({
      key,
      bytes,
      leases: leases.map((one) => this.#paid(one)),
    }));
    const terms = { now: this.#trust().now, payer: ownerPays(this.#from), allowance: this.#parts.allowance() };
    const put = await this.#disk.blocks.put(leased, terms);
    if (put.kind === 'over-quota') throw overQuota(put.payer);
  }

  renew(keys: readonly Uint8Array[], lease: Lease): Promise<boolean[]> {
    const paid = [this.#paid(lease)];
    return this.#disk.blocks.renew(keys, () => paid).then((here) => here.map((one) => !one));
  }

  async exchange(claimed: readonly Claimed[]): Promise<Standing[]> {
    const leases = new Map(claimed.map(({ key, leases: theirs }) => [key, theirs.map((one) => this.#paid(one))]));
    const here = await this.#disk.blocks.renew([...leases.keys()], (key) => leases.get(key) ?? []);
    // An orphan of an exchange is none of the trash's: only a lease takes it out of there.
    return claimed.map(({ key }, index) => ({
      held: here[index] === true && this.#disk.blocks.trashedAt(key) === undefined && this.#parts.isProper(key),
      leases: this.#disk.blocks.leases.of(key).slice(0, maxLeasesCarried),
    }));
  }

  async putRound(stated: StatedRound): Promise<void> {
    if (!(await this.#disk.rounds.put(stated, this.#trust())))
      throw new StoreFault('invalid', 'not a refresh round that its identity signed');
  }

  async round(key: Uint8Array): Promise<{ stated: StatedRound; round: Round } | undefined> {
    return this.#disk.rounds.get(key, this.#trust());
  }

  /** A damaged copy is no "none": it throws, and whoever asks looks elsewhere. */
  async fetch(key: Uint8Array): Promise<Uint8Array | undefined> {
    const found = await this.#disk.blocks.get(key);
    if (found.kind === 'block') {
      await this.#disk.blocks.restore(key, this.#trust().now, ownerPays(this.#from));
      return found.bytes;
    }
    if (found.kind === 'damaged') throw new StoreFault('unavailable', 'the copy here was damaged and is set aside');
    this.#parts.certainOfAbsence();
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
    if (kind === 'block') return !this.#disk.blocks.has(key) || this.#disk.blocks.isMisplaced(key);
    if (kind === 'head') return !this.#disk.heads.hashes(key).some(same);
    const here = this.#disk.entries.hash(key);
    return here === undefined || !same(here);
  }

  async putHead(head: Head): Promise<HeadVerdict> {
    const verdict = await this.#disk.heads.put(head);
    if (verdict.kind === 'fork') noteFork(this.#parts.conduct ?? noConduct, [head, ...verdict.heads]);
    return verdict;
  }

  async heads(key: Uint8Array): Promise<Head[]> {
    const heads = this.#disk.heads.get(key);
    if (heads.length > 0) return heads;
    if (this.#disk.heads.isDamaged(key)) throw new StoreFault('unavailable', 'the head here is damaged');
    this.#parts.certainOfAbsence();
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
    this.#parts.certainOfAbsence();
    return undefined;
  }
}

/** The head in bytes from a peer; throws StoreFault `invalid` for a forged one. */
export function headFrom(bytes: Uint8Array): Head {
  const head = checkHead(bytes);
  if (head === undefined) throw new StoreFault('invalid', 'not a head that its writer signed');
  return head;
}
