import type { EarlyChange, Folder, MessageEntry } from '../../../mail/folder.ts';
import { type MessageSet, normalRanges } from '../wire/sequence-set.ts';

/** A message as this session numbers it. */
export interface Numbered {
  readonly sequence: number;
  readonly entry: MessageEntry;
}

/** RFC 3501 §2.3.1.2: a number beyond the last message, which no client that keeps count would send. */
export type Resolved =
  | { readonly kind: 'messages'; readonly messages: readonly Numbered[] }
  | { readonly kind: 'out-of-range' };

export interface Changes {
  /** Sequence numbers to report as gone, in the order to report them. */
  readonly expunged: readonly number[];
  /** Their UIDs, ascending. */
  readonly vanished: readonly number[];
  /** The number of messages, when it changed by more than the expunges. */
  readonly exists: number | undefined;
  readonly flags: readonly Numbered[];
}

/**
 * The selected folder as one session has been told of it. The folder changes under it at any time; the session's numbers
 * change only when {@link catchUp} says what to tell the client (RFC 3501 §7.4.1).
 */
export class FolderView {
  readonly folder: Folder;
  readonly readOnly: boolean;
  /** RFC 5182: UIDs that the last SEARCH RETURN (SAVE) found, ascending. */
  saved: readonly number[] = [];
  /** Ascending by uid. Replaced, never changed in place where the folder handed it out. */
  #known: readonly MessageEntry[];
  /** The folder's list that `#known` was last brought up to. */
  #seen: readonly MessageEntry[];
  /** `#known` is nobody else's, and may be changed in place. */
  #own = false;
  /** Changes of flags that this session was told of before they are written. */
  #unwritten = 0;
  /** One of them failed: the client has to be told. */
  #refused = false;
  readonly #changed: () => void;
  readonly #stop: () => void;

  constructor(folder: Folder, readOnly: boolean, onChange: () => void) {
    this.folder = folder;
    this.readOnly = readOnly;
    this.#known = this.#seen = folder.entries();
    this.#changed = onChange;
    this.#stop = folder.onChange(onChange);
  }

  get count(): number {
    return this.#known.length;
  }

  /** Whether there is something to tell. */
  get behind(): boolean {
    return this.#unwritten === 0 && (this.#refused || this.#seen !== this.folder.entries());
  }

  /** What this session knows is what the folder is. */
  get current(): boolean {
    return this.#known === this.folder.entries();
  }

  /** So many of the folder's changes that are not written yet are of this session. */
  get unwritten(): number {
    return this.#unwritten;
  }

  all(): readonly MessageEntry[] {
    return this.#known;
  }

  resolve({ by, set }: MessageSet): Resolved {
    // RFC 5182 §2.1: messages that are gone meanwhile are not meant any more.
    if (set === 'saved') return { kind: 'messages', messages: this.numbered(this.saved) };
    const largest = by === 'uid' ? (this.#known.at(-1)?.uid ?? 0) : this.count;
    const tooLarge = set.some(({ from, to }) => from !== '*' && to !== '*' && Math.max(from, to) > largest);
    if (by === 'sequence' && tooLarge) return { kind: 'out-of-range' };
    const messages: Numbered[] = [];
    for (const { from, to } of normalRanges(set, largest)) {
      const start = by === 'uid' ? this.#firstAt(from) : Math.max(0, from - 1);
      for (let index = start; index < this.count; index += 1) {
        const entry = this.#known[index]!;
        if ((by === 'uid' ? entry.uid : index + 1) > to) break;
        messages.push({ sequence: index + 1, entry });
      }
    }
    return { kind: 'messages', messages };
  }

  numbered(uids: readonly number[]): Numbered[] {
    return uids.flatMap((uid) => {
      const index = this.#firstAt(uid);
      const entry = this.#known[index];
      return entry?.uid === uid ? [{ sequence: index + 1, entry }] : [];
    });
  }

  /** Takes over entries that the client is told of otherwise, or does not want to hear of. */
  adopt(entries: readonly MessageEntry[]): void {
    this.#replace(entries, () => true);
  }

  /** The same for a change of flags that is not written yet. When it is, its mod-sequence is known; when it fails, the client is told what the flags are. */
  adoptEarly({ entries, written }: EarlyChange): void {
    this.adopt(entries);
    this.#unwritten += 1;
    written
      .then(
        () => {
          const now = entries.flatMap(({ uid }) => this.folder.entry(uid) ?? []);
          const told = new Map(entries.map((entry) => [entry.uid, entry]));
          this.#replace(now, (known, entry) => known === told.get(entry.uid) && sameFlags(known, entry));
        },
        () => {
          this.#refused = true;
        },
      )
      .finally(() => {
        this.#unwritten -= 1;
        this.#changed();
      });
  }

  #replace(entries: readonly MessageEntry[], mayReplace: (known: MessageEntry, entry: MessageEntry) => boolean): void {
    for (const entry of entries) {
      const index = this.#firstAt(entry.uid);
      const known = this.#known[index];
      if (known?.uid !== entry.uid || known === entry || !mayReplace(known, entry)) continue;
      const all = this.#own ? (this.#known as MessageEntry[]) : [...this.#known];
      all[index] = entry;
      this.#known = all;
      this.#own = true;
    }
  }

  /**
   * What to tell the client now. With `expunges` false, messages that are gone keep their numbers for a while. While a change of its own is being written
   * there is nothing to tell: the folder does not show it yet.
   */
  catchUp(expunges: boolean): Changes {
    const current = this.folder.entries();
    const same = current === this.#seen && this.#known.length === current.length && !this.#refused;
    if (same || this.#unwritten > 0) return { expunged: [], vanished: [], exists: undefined, flags: [] };
    this.#refused = false;
    const changes = this.#appendedOnly(current) ?? this.#compared(current, expunges);
    this.#own = this.#known !== current;
    return changes;
  }

  /** The common case, of a folder where nothing went: one pass without a copy, as a folder may have 100,000 messages and a change each second. */
  #appendedOnly(current: readonly MessageEntry[]): Changes | undefined {
    const known = this.#known;
    if (current.length < known.length) return undefined;
    const flags: Numbered[] = [];
    for (let index = 0; index < known.length; index += 1) {
      const [old, now] = [known[index]!, current[index]!];
      if (old === now) continue;
      if (old.uid !== now.uid) return undefined;
      if (!sameFlags(now, old)) flags.push({ sequence: index + 1, entry: now });
    }
    this.#known = this.#seen = current;
    const exists = current.length === known.length ? undefined : current.length;
    return { expunged: [], vanished: [], exists, flags };
  }

  #compared(current: readonly MessageEntry[], expunges: boolean): Changes {
    const next: MessageEntry[] = [];
    const gone: number[] = [];
    const vanished: number[] = [];
    const flags: Numbered[] = [];
    let at = 0;
    this.#known.forEach((old, index) => {
      while (at < current.length && current[at]!.uid < old.uid) at += 1;
      const now = current[at]?.uid === old.uid ? current[at]! : undefined;
      if (now === undefined && expunges) {
        gone.push(index + 1);
        vanished.push(old.uid);
      } else next.push(now ?? old);
      if (now !== undefined && now !== old && !sameFlags(now, old)) {
        flags.push({ sequence: next.length, entry: now });
      }
    });
    const kept = next.length;
    const last = this.#known.at(-1)?.uid ?? 0;
    for (const entry of current.slice(firstAt(current, last + 1))) next.push(entry);
    this.#known = next;
    this.#seen = current;
    return { expunged: gone.reverse(), vanished, exists: next.length === kept ? undefined : next.length, flags };
  }

  close(): void {
    this.#stop();
  }

  #firstAt(uid: number): number {
    return firstAt(this.#known, uid);
  }
}

function sameFlags(a: MessageEntry, b: MessageEntry): boolean {
  return a.flags.length === b.flags.length && a.flags.every((flag) => b.flags.includes(flag));
}

/** Index of the first entry with that uid or a larger one. */
function firstAt(entries: readonly MessageEntry[], uid: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (entries[middle]!.uid < uid) low = middle + 1;
    else high = middle;
  }
  return low;
}
