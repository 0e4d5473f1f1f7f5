/**
 * Tells a broken resolver from a broken destination. A domain whose name servers are dead gives no answer, and so does every domain when our resolver is
 * dead or cut off; the first is the destination's failure and counts against the mail, the second is ours and must not.
 */
import type { Resolver } from '../dns/answer.ts';

export interface WatchParts {
  readonly resolver: Resolver;
  readonly now: () => number;
  readonly random: () => number;
}

/** Large, apart from each other, and answering "no such name" for what does not exist: nothing of it can be in a cache. */
const zones = ['com', 'net', 'org'];
/** A verdict serves all jobs that meet the same trouble at once. */
const knownForMs = 10_000;

export class ResolverWatch {
  readonly #parts: WatchParts;
  #asked: { readonly at: number; readonly verdict: Promise<boolean> } | undefined;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** Asked when a lookup was not answered: whether nothing is. Never throws. */
  async isBroken(): Promise<boolean> {
    const now = this.#parts.now();
    const age = now - (this.#asked?.at ?? Number.NEGATIVE_INFINITY);
    if (this.#asked === undefined || age < 0 || age > knownForMs) this.#asked = { at: now, verdict: this.#probe() };
    return this.#asked.verdict;
  }

  async #probe(): Promise<boolean> {
    const answers = await Promise.all(
      zones.map(async (zone) => {
        const label = Math.floor(this.#parts.random() * 2 ** 52).toString(36);
        return this.#parts.resolver.resolve(`epost-${label}.${zone}`, 'A');
      }),
    );
    return answers.every(({ kind }) => kind === 'unknown');
  }
}
