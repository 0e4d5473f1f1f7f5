import { compareDistance } from './placement.ts';

// A run of so few is sorted by distance at once; halving it further would cost more.
const sortedAtOnce = 8;

/**
 * Members by their place in the key space, so that the nearest to a key are found without looking at all: on the path of every block, and for
 * each block of each repair walk. Takes about log n steps.
 */
export class PositionIndex<T extends { readonly position: Uint8Array }> {
  /** In the order of their positions. */
  readonly #placed: T[] = [];

  put(one: T): void {
    const at = this.#indexOf(one.position);
    this.#placed.splice(at, this.#isAt(at, one.position) ? 1 : 0, one);
  }

  remove(position: Uint8Array): void {
    const at = this.#indexOf(position);
    if (this.#isAt(at, position)) this.#placed.splice(at, 1);
  }

  /** The `count` nearest to `key` that `holds` accepts, nearest first. */
  nearest(key: Uint8Array, count: number, holds: (one: T) => boolean): T[] {
    const found: T[] = [];
    this.#collect(0, this.#placed.length, 0, { key, count, holds, found });
    return found;
  }

  /** Those between `low` and `high` share their first `bit` bits: the half that has the next bit of the key is nearer as a whole. */
  #collect(
    low: number,
    high: number,
    bit: number,
    wanted: { key: Uint8Array; count: number; holds: (one: T) => boolean; found: T[] },
  ): void {
    const { key, count, holds, found } = wanted;
    if (low >= high || found.length >= count) return;
    if (high - low <= sortedAtOnce || bit >= key.length * 8) {
      const run = this.#placed.slice(low, high);
      run.sort((left, right) => compareDistance(key, left.position, right.position));
      for (const one of run) if (found.length < count && holds(one)) found.push(one);
      return;
    }
    const split = this.#split(low, high, bit);
    const upperFirst = bitAt(key, bit);
    this.#collect(upperFirst ? split : low, upperFirst ? high : split, bit + 1, wanted);
    this.#collect(upperFirst ? low : split, upperFirst ? split : high, bit + 1, wanted);
  }

  /** The first between `low` and `high` whose bit is set. */
  #split(low: number, high: number, bit: number): number {
    let [from, to] = [low, high];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (bitAt(this.#placed[middle]?.position ?? key0, bit)) to = middle;
      else from = middle + 1;
    }
    return from;
  }

  #indexOf(position: Uint8Array): number {
    let [from, to] = [0, this.#placed.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (Buffer.compare(this.#placed[middle]?.position ?? key0, position) < 0) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  #isAt(at: number, position: Uint8Array): boolean {
    const here = this.#placed[at];
    return here !== undefined && Buffer.compare(here.position, position) === 0;
  }
}

const key0 = new Uint8Array();

function bitAt(bytes: Uint8Array, bit: number): boolean {
  return (((bytes[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) === 1;
}
