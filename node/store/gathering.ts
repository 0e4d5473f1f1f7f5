import type { Member } from '../overlay/overlay.ts';
import { pause } from './background.ts';
import type { Holder } from './holder.ts';
import type { Neighbours } from './neighbours.ts';

/**
 * When enough have answered the rest get this long: those that answered may all be lying, and the one that is not may be slow. Only a holder that fell
 * asleep a moment ago lets others wait so long; soon it counts as down.
 */
const graceMs = 1_000;

export interface Gathered<T> {
  /** Who answered what, stand-ins included. */
  readonly answers: ReadonlyMap<Member, T>;
  /** Proper holders asked, and those that answered. */
  readonly asked: number;
  readonly answered: number;
  /** Enough proper holders answered that no acknowledged write can have been missed. */
  readonly sure: boolean;
  /** Why the others gave no answer. */
  readonly failures: readonly unknown[];
}

/**
 * Asks all proper holders of a key, and the nearest stand-ins that are up, at the same time. Ends when all have answered or failed, or a
 * little after enough of the proper ones have answered. Those that are down are tried when the others are too few.
 */
export async function gather<T>(
  neighbours: Neighbours,
  key: Uint8Array,
  ask: (holder: Holder) => Promise<T>,
  signal: AbortSignal,
): Promise<Gathered<T>> {
  await neighbours.locate([key]);
  const { proper, spare } = neighbours.place(key);
  const needed = neighbours.readQuorum();
  const up = (member: Member): boolean => neighbours.isUp(member);
  const answers = new Map<Member, T>();
  const failures: unknown[] = [];
  const answered = (): number => proper.filter((member) => answers.has(member)).length;
  const enough = Promise.withResolvers<void>();
  const askAll = (members: readonly Member[]): Promise<unknown> =>
    Promise.all(
      members.map(async (member) => {
        try {
          answers.set(member, await ask(neighbours.holder(member)));
          if (answered() >= needed) enough.resolve();
        } catch (cause) {
          failures.push(cause);
        }
      }),
    );
  // Where a proper holder was down when something was written, a stand-in has it.
  const all = askAll([...proper.filter(up), ...spare.filter(up).slice(0, neighbours.copies)]);
  await Promise.race([all, enough.promise]);
  if (answered() >= needed) {
    const over = new AbortController();
    await Promise.race([all, pause(graceMs, AbortSignal.any([signal, over.signal]))]);
    over.abort();
  } else await askAll(proper.filter((member) => !up(member)));
  return {
    answers: new Map(answers),
    asked: proper.length,
    answered: answered(),
    sure: answered() >= needed,
    failures: [...failures],
  };
}
