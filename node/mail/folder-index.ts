import { MailFault } from './fault.ts';
import { changedFlags, FlagPool } from './flags.ts';
import { decodeFolderRecord, type FolderRecord } from './folder-record.ts';
import { IndexEntry, packedSize } from './index-entry.ts';
import type { UidRanges } from './uid-ranges.ts';

/** What a record did. */
export type FolderOutcome =
  | { readonly kind: 'inserted'; readonly uid: number }
  | { readonly kind: 'known'; readonly uid: number }
  | { readonly kind: 'flags' | 'expunged'; readonly uids: readonly number[] }
  | { readonly kind: 'none' };

// A notification is remembered by its recipient for 15 days (node/notify); twice that leaves room for clocks and restores.
const rememberDeliveryMs = 30 * 86_400_000;
// 4 MB of ids: a mailbox that gets more in a month still has the recipient's own memory of 15 days.
const maxRemembered = 100_000;

/** A delivery's id and when it came; `uid` may have gone since. */
export interface Delivered {
  readonly uid: number;
  readonly at: number;
}

type Insert = FolderRecord & { readonly kind: 'insert' };

/**
 * The state of a folder: a pure function of its records, in order. The same records give the same state on every node and after every
 * rebuild; nothing here knows a clock.
 */
export class FolderIndex {
  readonly pool = new FlagPool();
  uidValidity = 0;
  uidNext = 1;
  /** Records applied; the next one has this number. */
  seq = 0;
  readonly delivered = new Map<string, Delivered>();
  #entries: IndexEntry[] = [];
  #shown: readonly IndexEntry[] | undefined;

  /** RFC 7162 §3.1.1: positive, and grows with every record. */
  get highestModseq(): number {
    return Math.max(this.seq, 1);
  }

  /** An array that never changes afterwards. */
  entries(): readonly IndexEntry[] {
    this.#shown ??= this.#entries.slice();
    return this.#shown;
  }

  get length(): number {
    return this.#entries.length;
  }

  /** Place of the first entry whose uid is not below `uid`. */
  #place(uid: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle]?.uid ?? 0) < uid) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  entry(uid: number): IndexEntry | undefined {
    const found = this.#entries[this.#place(uid)];
    return found?.uid === uid ? found : undefined;
  }

  /** Those of `uids` that are there, ascending, once each. */
  existing(uids: readonly number[]): readonly IndexEntry[] {
    const found = new Set<IndexEntry>();
    for (const uid of uids) {
      const entry = this.entry(uid);
      if (entry !== undefined) found.add(entry);
    }
    return [...found].sort((a, b) => a.uid - b.uid);
  }

  knownDelivery(id: Uint8Array): Delivered | undefined {
    return this.delivered.get(Buffer.from(id).toString('latin1'));
  }

  /** Puts an entry behind all others: for a snapshot that is being read. */
  restore(entry: IndexEntry): void {
    if (entry.uid < (this.#entries.at(-1)?.uid ?? 0) + 1) throw new MailFault('damaged', 'a snapshot out of order');
    this.#entries.push(entry);
    this.#shown = undefined;
  }

  /** Applies the next record. Throws MailFault `damaged` for octets that are no record. */
  apply(bytes: Uint8Array): FolderOutcome {
    const record = decodeFolderRecord(bytes);
    this.seq += 1;
    switch (record.kind) {
      case 'born':
        // The first one counts.
        if (this.uidValidity === 0) this.uidValidity = record.uidValidity;
        return { kind: 'none' };
      case 'insert':
        return this.#insert(record);
      case 'flags':
        return this.#change(record.uids, record.mode, record.flags);
      default:
        return this.#expunge(record.uids);
    }
  }

  #insert(record: Insert): FolderOutcome {
    const id = record.delivery?.id;
    const known = id === undefined ? undefined : this.knownDelivery(id);
    if (known !== undefined) return { kind: 'known', uid: known.uid };
    // A uid is never given twice (RFC 3501 §2.3.1.1), not even when records of another writer were merged in.
    const uid = Math.max(this.uidNext, record.uid);
    this.uidNext = uid + 1;
    const { internalDate, ref, flags } = record;
    const packed = Buffer.from(ref).toString('latin1');
    const facts = { uid, modseq: this.seq, internalDate, size: packedSize(ref), set: this.pool.take(flags), packed };
    this.#entries.push(new IndexEntry(facts));
    this.#shown = undefined;
    if (id !== undefined) this.#remember(id, uid, record.at);
    return { kind: 'inserted', uid };
  }

  #remember(id: Uint8Array, uid: number, at: number): void {
    this.delivered.set(Buffer.from(id).toString('latin1'), { uid, at });
    // In order of arrival, so looking at the oldest is enough; by the records' own time, so that every replay forgets alike.
    for (const [oldest, delivery] of this.delivered) {
      if (delivery.at >= at - rememberDeliveryMs && this.delivered.size <= maxRemembered) break;
      this.delivered.delete(oldest);
    }
  }

  #change(ranges: UidRanges, mode: 'set' | 'add' | 'remove', flags: readonly string[]): FolderOutcome {
    const uids: number[] = [];
    for (const place of this.#places(ranges)) {
      const entry = this.#entries[place];
      if (entry === undefined) continue;
      const next = changedFlags(entry.flags, mode, flags);
      if (next.length === entry.flags.length && next.every((flag, i) => flag === entry.flags[i])) continue;
      this.pool.release(entry.set);
      this.#entries[place] = entry.with(this.pool.take(next), this.seq);
      uids.push(entry.uid);
    }
    if (uids.length > 0) this.#shown = undefined;
    return { kind: 'flags', uids };
  }

  /** Places of the entries in these ranges: work is bounded by what is there, not by what the ranges claim. */
  *#places(ranges: UidRanges): Generator<number> {
    for (let i = 0; i < ranges.length; i += 2) {
      const last = ranges[i + 1] ?? 0;
      for (let place = this.#place(ranges[i] ?? 0); (this.#entries[place]?.uid ?? Infinity) <= last; place++)
        yield place;
    }
  }

  #expunge(ranges: UidRanges): FolderOutcome {
    const gone = new Set(this.#places(ranges));
    const uids: number[] = [];
    if (gone.size === 0) return { kind: 'expunged', uids };
    this.#entries = this.#entries.filter((entry, place) => {
      if (!gone.has(place)) return true;
      this.pool.release(entry.set);
      uids.push(entry.uid);
      return false;
    });
    this.#shown = undefined;
    return { kind: 'expunged', uids };
  }
}
