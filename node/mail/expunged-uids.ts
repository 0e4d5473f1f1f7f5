/** Uids that went together, and the modseq of when. */
export interface ExpungedRange {
  readonly modseq: number;
  readonly from: number;
  readonly to: number;
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

  /** For a snapshot that is being read. */
  restore(before: number, ranges: readonly ExpungedRange[]): void {
    this.#before = before;
    this.#ranges = [...ranges];
  }
}
