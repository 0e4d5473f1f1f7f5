import type { Member } from '../overlay/overlay.ts';
import { StoreFault } from './fault.ts';
import type { Holder } from './holder.ts';
import type { Neighbours } from './neighbours.ts';

export interface Spread {
  /** Copies when the quorum was reached; throws StoreFault `quorum`, or what a holder proved. */
  readonly atQuorum: Promise<{ copies: number }>;
  /** When nothing is under way any more. */
  readonly finished: Promise<void>;
}

/**
 * Puts one small thing at the k holders of its key side by side; a holder that fails is replaced by the next nearest. A throw that
 * `proves` something (a newer head, a fork) ends it at once: more copies would not change that. When the quorum was reached before, `late` is told.
 */
export function spread(
  neighbours: Neighbours,
  key: Uint8Array,
  put: (holder: Holder) => Promise<void>,
  proves: (cause: unknown) => boolean,
  late: (cause: unknown) => void,
): Spread {
  const wanted = neighbours.wanted();
  const takers = neighbours.takers(key);
  const outcome = Promise.withResolvers<{ copies: number }>();
  const causes: unknown[] = [];
  let copies = 0;
  const give = async (member: Member): Promise<void> => {
    try {
      await put(neighbours.holder(member));
      copies++;
      if (copies >= wanted.quorum) outcome.resolve({ copies });
    } catch (cause) {
      if (proves(cause)) {
        if (copies >= wanted.quorum) late(cause);
        else outcome.reject(cause);
      }
      causes.push(cause);
      const next = takers.shift();
      if (next !== undefined) await give(next);
    }
  };
  const finished = Promise.all(takers.splice(0, wanted.copies).map(give)).then(() => {
    const message = `${copies} durable copies, ${wanted.quorum} are needed`;
    outcome.reject(new StoreFault('quorum', message, { cause: causes[0] }));
  });
  return { atQuorum: outcome.promise, finished };
}
