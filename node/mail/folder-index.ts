import { type Join, type LogItem, type Place, start } from '../log/place.ts';
import { ExpungedUids } from './expunged-uids.ts';
import { MailFault } from './fault.ts';
import { FlagClock } from './flag-clock.ts';
import { type FlagMode, FlagPool } from './flags.ts';
import { decodeFolderRecord, type FolderRecord } from './folder-record.ts';
import { gapNotice } from './gap-notice.ts';
import { IndexEntry, packedSize } from './index-entry.ts';
import { packedMessageRefBytes } from './message-ref.ts';
import { names, type Runs } from './runs.ts';

/** What a record did. */
export type FolderOutcome =
  | { readonly kind: 'inserted'; readonly uid: number }
  /** Messages that have other uids now, because another history of the log had given theirs to other messages. */
  | { readonly kind: 'moved'; readonly moves: ReadonlyMap<number, number> }
  | { readonly kind: 'known'; readonly uid: number }
  | { readonly kind: 'flags' | 'expunged'; readonly uids: readonly number[] }
  | { readonly kind: 'none' };

// A notification is remembered by its recipient for 15 days (node/notify); twice that leaves room for clocks and restores.
const rememberDeliveryMs = 30 * 86_400_000;
// 4 MB of ids: a mailbox that gets more in a month still has the recipient's own memory of 15 days.
const maxRemembered = 100_000;
// Deliveries of one partition of the ring to two nodes of the same user: far more than come in a weekend.
const maxAliases = 10_000;

/** A delivery's id and when it came; `uid` may have gone since. */
export interface Delivered {
  readonly uid: number;
  readonly at: number;
}

type Insert = FolderRecord & { readonly kind: 'insert' };

/** Items of the log that are lost, where a message stands in for them. */
export interface Gap {
  readonly seq: number;
  readonly count: number;
  /** So many insertions were among them, at most. */
  readonly insertions: number;
}

/**
 * The state of a folder: a pure function of its log's items, in order. The same records give the same state on every node and after every
 * rebuild; nothing here knows a clock.
 */
export class FolderIndex {
  readonly pool = new FlagPool();
  uidValidity = 0;
  /** Behind the last item applied. */
  place: Place = start;
  readonly delivered = new Map<string, Delivered>();
  /** The highest serial of each origin: each time that somebody opened the folder and inserted, some 20 octets. */
  readonly origins = new Map<number, number>();
  /** Deliveries that came in two histories: the name in the second → the uid of the first. Newest last. */
  readonly aliases = new Map<string, number>();
  readonly gone = new ExpungedUids();
  /** Who changed which flag last. */
  readonly clock = new FlagClock();
  /** By the uid of what stands in for them. */
  readonly gaps = new Map<number, Gap>();
  lost = 0;
  #entries: IndexEntry[] = [];
  #shown: readonly IndexEntry[] | undefined;

  /** The log gives the numbers, so that no history of it gives one twice, and a lost part of it takes its own along. */
  get uidNext(): number {
    return this.place.numbers + 1;
  }

  /** RFC 7162 §3.1.1: positive, and grows with every record. */
  get highestModseq(): number {
    return Math.max(this.place.height, 1);
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

  /** Applies the next item of the log. Throws MailFault `damaged` for octets that are no record. */
  apply(item: LogItem): FolderOutcome {
    const before = this.place;
    const record = item.kind === 'record' ? decodeFolderRecord(item.record) : undefined;
    this.place = item.after;
    if (item.kind === 'join') return this.#join(before, item.join);
    if (item.kind === 'missing') return this.#miss(item.seq, item.count, item.after.numbers - before.numbers);
    return record === undefined ? { kind: 'none' } : this.#step(record);
  }

  #step(record: FolderRecord): FolderOutcome {
    switch (record.kind) {
      case 'born':
        // The first one counts.
        if (this.uidValidity === 0) this.uidValidity = record.uidValidity;
        return { kind: 'none' };
      case 'insert':
        return this.#insert(record);
      case 'flags':
        return this.#change(record.runs, record.mode, record.flags, record.at);
      default:
        return this.#expunge(record.runs);
    }
  }

  /** Something under the last of the lost uids says that messages may be missing here (DESIGN §9); nobody else ever has that uid. */
  #miss(seq: number, count: number, insertions: number): FolderOutcome {
    this.lost += count;
    // What went there is not known.
    this.gone.restore(this.place.height, []);
    if (insertions <= 0) return { kind: 'none' };
    const uid = this.place.numbers;
    this.gaps.set(uid, { seq, count, insertions });
    const set = this.pool.take([]);
    const packed = Buffer.alloc(packedMessageRefBytes).toString('latin1');
    const facts = { uid, modseq: this.place.height, internalDate: 0, size: gapNotice.length, set, packed };
    this.#entries.push(new IndexEntry({ ...facts, origin: 0, serial: seq }));
    this.#shown = undefined;
    return { kind: 'inserted', uid };
  }

  #insert(record: Insert): FolderOutcome {
    const { origin, serial } = record;
    // An origin's insertions come in order in every history, so one that is not above has been here before (a head that was given up and
    // then seen after all), even if it is expunged by now.
    if (serial <= (this.origins.get(origin) ?? 0)) {
      const uid = this.#entries.find((entry) => entry.origin === origin && entry.serial === serial)?.uid ?? 0;
      return { kind: 'known', uid };
    }
    this.origins.set(origin, serial);
    const id = record.delivery?.id;
    const known = id === undefined ? undefined : this.knownDelivery(id);
    if (known !== undefined) {
      this.#alias(origin, serial, known.uid);
      return { kind: 'known', uid: known.uid };
    }
    const uid = this.place.numbers;
    const { internalDate, ref, flags } = record;
    const packed = Buffer.from(ref).toString('latin1');
    const set = this.pool.take(flags);
    const facts = { uid, modseq: this.place.height, internalDate, size: packedSize(ref), set, packed, origin, serial };
    this.#entries.push(new IndexEntry(facts));
    this.#shown = undefined;
    if (id !== undefined) this.#remember(id, uid, record.at);
    return { kind: 'inserted', uid };
  }

  /**
   * Another history of the log became part of this one. The uids it gave out after the parting mean other messages to whoever read there, so what has
   * one of them here gets a new one, above all that either gave (RFC 3501 §2.3.1.1); what changed here is new to those readers.
   */
  #join(before: Place, { from, most }: Join): FolderOutcome {
    const moves = new Map<number, number>();
    let next = Math.max(before.numbers, most.numbers);
    const moved: IndexEntry[] = [];
    const stay: IndexEntry[] = [];
    for (const entry of this.#entries) {
      if (entry.uid > from.numbers && entry.uid <= most.numbers) {
        moves.set(entry.uid, ++next);
        moved.push(entry.as(next, this.place.height));
      } else stay.push(entry.modseq > from.height ? entry.with(entry.set, this.place.height) : entry);
    }
    this.#entries = [...stay, ...moved];
    this.#shown = undefined;
    this.gone.join(from, most, this.place.height);
    if (moves.size === 0) return { kind: 'none' };
    for (const [id, delivery] of this.delivered)
      this.delivered.set(id, { ...delivery, uid: moves.get(delivery.uid) ?? delivery.uid });
    for (const [name, uid] of this.aliases) this.aliases.set(name, moves.get(uid) ?? uid);
    const gaps = [...this.gaps];
    this.gaps.clear();
    for (const [uid, gap] of gaps) this.gaps.set(moves.get(uid) ?? uid, gap);
    return { kind: 'moved', moves };
  }

  #alias(origin: number, serial: number, uid: number): void {
    this.aliases.set(`${origin}/${serial}`, uid);
    const [oldest] = this.aliases.keys();
    if (this.aliases.size > maxAliases && oldest !== undefined) this.aliases.delete(oldest);
  }

  #remember(id: Uint8Array, uid: number, at: number): void {
    this.delivered.set(Buffer.from(id).toString('latin1'), { uid, at });
    // In order of arrival, so looking at the oldest is enough; by the records' own time, so that every replay forgets alike.
    for (const [oldest, delivery] of this.delivered) {
      if (delivery.at >= at - rememberDeliveryMs && this.delivered.size <= maxRemembered) break;
      this.delivered.delete(oldest);
    }
  }

  #change(runs: Runs, mode: FlagMode, flags: readonly string[], at: number): FolderOutcome {
    const uids: number[] = [];
    for (const place of this.#places(runs)) {
      const entry = this.#entries[place];
      if (entry === undefined) continue;
      const next = this.clock.changed(entry, mode, flags, at);
      if (next.length === entry.flags.length && next.every((flag, i) => flag === entry.flags[i])) continue;
      this.pool.release(entry.set);
      this.#entries[place] = entry.with(this.pool.take(next), this.place.height);
      uids.push(entry.uid);
    }
    this.clock.passed(at);
    if (uids.length > 0) this.#shown = undefined;
    return { kind: 'flags', uids };
  }

  /** Places of the entries that these runs name: work is bounded by what is there, not by what the runs claim. */
  #places(runs: Runs): Set<number> {
    const places = new Set<number>();
    let elsewhere = this.aliases.size > 0;
    for (let at = 0; at < runs.length; at += 4) {
      const [uid = 0, origin = 0, serial = 0, count = 0] = runs.slice(at, at + 4);
      let found = 0;
      for (let place = this.#place(uid); (this.#entries[place]?.uid ?? Infinity) < uid + count; place++) {
        const entry = this.#entries[place];
        if (entry?.origin !== origin || entry.serial !== serial + entry.uid - uid) continue;
        places.add(place);
        found++;
      }
      elsewhere ||= found < count;
    }
    if (elsewhere) this.#findElsewhere(runs, places);
    return places;
  }

  /** After a merge: messages that are not where the writer of the runs had them. */
  #findElsewhere(runs: Runs, places: Set<number>): void {
    for (const [place, { origin, serial }] of this.#entries.entries())
      if (names(runs, origin, serial)) places.add(place);
    for (const [name, uid] of this.aliases) {
      const [origin = 0, serial = 0] = name.split('/').map(Number);
      const place = this.#place(uid);
      if (this.#entries[place]?.uid === uid && names(runs, origin, serial)) places.add(place);
    }
  }

  #expunge(runs: Runs): FolderOutcome {
    const gone = this.#places(runs);
    const uids: number[] = [];
    if (gone.size === 0) return { kind: 'expunged', uids };
    this.#entries = this.#entries.filter((entry, place) => {
      if (!gone.has(place)) return true;
      this.pool.release(entry.set);
      uids.push(entry.uid);
      return false;
    });
    this.gone.add(this.place.height, uids);
    this.#shown = undefined;
    return { kind: 'expunged', uids };
  }
}
