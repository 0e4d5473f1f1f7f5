/** Uids that went together, and the modseq of when. */
export interface ExpungedRange {
  readonly modseq: number;
  readonly from: number;
  readonly to: number;
}

interface Mark {
  /** The highest uid given out. */
  readonly numbers: number;
  /** The highest modseq. */
  readonly height: number;
}

// 140 KB in a snapshot. A client that was away for longer is told all uids that are not there, which it may be told at any time.
export const maxExpungedRanges = 10_000;

/** Which uids a folder has lost since when (RFC 7162 §3.2.5): a function of its records alone, and bounded. */
export class ExpungedUids {
  #ranges: ExpungedRange[] = [];
  /** What went up to this modseq is not remembered any more. */
  #before = 0;

  get before(): number {
    return this.#before;
  }

  ranges(): readonly ExpungedRange[] {
    return this.#ranges;
  }

  /** `uids` ascending; `modseq` not below any given before. */
  add(modseq: number, uids: readonly number[]): void {
    for (let first = 0; first < uids.length; ) {
      let last = first;
      while (uids[last + 1] === (uids[last] ?? 0) + 1) last += 1;
      this.#ranges.push({ modseq, from: uids[first] ?? 0, to: uids[last] ?? 0 });
      first = last + 1;
    }
    if (this.#ranges.length <= maxExpungedRanges) return;
    // A quarter at once, so that a folder at its bound does not move the whole list each time.
    const dropped = this.#ranges.splice(0, this.#ranges.length - Math.floor(maxExpungedRanges * 0.75));
    this.#before = Math.max(this.#before, dropped.at(-1)?.modseq ?? 0);
  }

  /** What went after `modseq`, ascending and joined; undefined when that is not remembered so far back. */
  since(modseq: number): readonly { readonly from: number; readonly to: number }[] | undefined {
    if (modseq < this.#before) return undefined;
    const later = this.#ranges.filter((range) => range.modseq > modseq).sort((a, b) => a.from - b.from);
    const joined: { from: number; to: number }[] = [];
    for (const { from, to } of later) {
      const last = joined.at(-1);
      if (last !== undefined && from <= last.to + 1) last.to = Math.max(last.to, to);
      else joined.push({ from, to });
    }
    return joined;
  }

  /**
   * Another history of the folder's log became part of this one at `height`: whoever read there knows nothing of what went here since `from`, and for him
   * the uids that it gave out after that are gone.
   */
  join(from: Mark, most: Mark, height: number): void {
    this.#ranges = this.#ranges.map((range) => (range.modseq > from.height ? { ...range, modseq: height } : range));
    if (most.numbers > from.numbers) this.#ranges.push({ modseq: height, from: from.numbers + 1, to: most.numbers });
    if (this.#before > from.height) this.#before = height;
  }

  /** For a snapshot that is being read. */
  restore(before: number, ranges: readonly ExpungedRange[]): void {
    this.#before = before;
    this.#ranges = [...ranges];
  }
}
