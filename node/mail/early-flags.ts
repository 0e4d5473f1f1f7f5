import { canonicalFlags, changedFlags, type FlagMode } from './flags.ts';
import type { EarlyChange } from './folder.ts';
import type { FolderIndex } from './folder-index.ts';
import type { IndexEntry } from './index-entry.ts';

// A change of more messages is worth the wait for the disk, which it has once for all of them.
const maxMessages = 200;
// Some megabytes of plans; a program that sends more in the time that one write takes waits for it.
const maxWriting = 2_000;

/**
 * Changes of flags that were answered before they are written, and what they make of the messages meanwhile. Flags can bear that: they are set to what
 * somebody wants, not counted, and his program sets them again when it sees that they are not. Nothing else is ever answered so, and nobody is
 * told a modseq of theirs before it is written. After one that failed the next ones are waited for, until one is written.
 */
export class EarlyFlags {
  readonly #becoming = new Map<number, IndexEntry>();
  /** In the order in which they were asked for, with the time of that. */
  readonly #writing = new Map<Promise<void>, number>();
  #doubtful = false;

  get unwritten(): number {
    return this.#writing.size;
  }

  /** Resolves when all that was answered until now is written, or has failed. */
  async settled(): Promise<void> {
    await Promise.all(this.#writing.keys());
  }

  /** To be called when a change was written in the ordinary way. */
  trust(): void {
    this.#doubtful = false;
  }

  /**
   * Begins to write and gives what becomes of the messages; undefined where the caller has to wait for it: because the oldest that is not written is older
   * than `maxDelayMs`, there are too many, one has failed, or a keyword is new to the folder (then it may still be refused).
   */
  begin(
    index: FolderIndex,
    change: { readonly uids: readonly number[]; readonly mode: FlagMode; readonly flags: readonly string[] },
    time: { readonly now: number; readonly maxDelayMs: number },
    write: () => Promise<unknown>,
  ): EarlyChange | undefined {
    const [oldest = time.now] = this.#writing.values();
    const late = time.now - oldest >= time.maxDelayMs;
    if (late || this.#doubtful || change.uids.length > maxMessages || this.#writing.size >= maxWriting)
      return undefined;
    const flags = canonicalFlags(change.flags, index.pool);
    const keywords = flags.filter((flag) => !flag.startsWith('\\'));
    if (keywords.length > 0 && !isSubset(keywords, index.pool.keywords())) return undefined;
    const entries = index.existing(change.uids).map((entry) => this.#becoming.get(entry.uid) ?? entry);
    const next = entries.map((entry) => become(entry, changedFlags(entry.flags, change.mode, flags)));
    if (next.every((entry, at) => entry === entries[at])) return { entries, written: Promise.resolve() };
    for (const entry of next) this.#becoming.set(entry.uid, entry);
    const written = write();
    this.#follow(written, next, time.now);
    return { entries: next, written };
  }

  #follow(written: Promise<unknown>, entries: readonly IndexEntry[], now: number): void {
    const over = written
      .catch(() => {
        this.#doubtful = true;
      })
      .then(() => {
        for (const entry of entries) if (this.#becoming.get(entry.uid) === entry) this.#becoming.delete(entry.uid);
        this.#writing.delete(over);
      });
    this.#writing.set(over, now);
  }
}

function isSubset(some: readonly string[], all: readonly string[]): boolean {
  return some.every((one) => all.includes(one));
}

function become(entry: IndexEntry, flags: readonly string[]): IndexEntry {
  if (flags.length === entry.flags.length && flags.every((flag, at) => flag === entry.flags[at])) return entry;
  return entry.with({ flags, seen: flags.includes('\\Seen'), count: 0 }, entry.modseq);
}
