import type { Member } from '../overlay/overlay.ts';
import { type Background, pause } from './background.ts';
import { StoreFault } from './fault.ts';
import type { Neighbours } from './neighbours.ts';

/** After this a second holder is asked as well: above the round trip between two towns, below what a person notices. */
const hedgeAfterMs = 150;

type Answer = { readonly kind: 'block'; readonly bytes: Uint8Array } | { readonly kind: 'none' | 'failed' };

export interface Fetched {
  readonly bytes: Uint8Array;
  /** Proper holders that are there and said they have no copy. */
  readonly lacking: readonly Member[];
}

/**
 * Fetches a block from its holders: the nearest first, the next one when that one says no, fails, or is slow. What comes is verified, so the
 * first block that comes is the right one. Throws StoreFault `missing` only when every proper holder, and every stand-in that is there, said
 * that it has none; `unavailable` otherwise.
 */
export async function fetchFromHolders(
  neighbours: Neighbours,
  key: Uint8Array,
  background: Background,
  failed: (member: Member, cause: unknown) => void,
): Promise<Fetched> {
  await neighbours.locate([key]);
  const { proper, spare } = neighbours.place(key);
  const up = (member: Member): boolean => neighbours.isUp(member);
  const trusted = (member: Member): boolean => up(member) && !neighbours.isSuspect(member);
  const suspect = (member: Member): boolean => up(member) && neighbours.isSuspect(member);
  const order = [
    ...[proper, spare].flatMap((members) => members.filter(trusted)),
    ...[proper, spare].flatMap((members) => members.filter(suspect)),
    ...proper.filter((member) => !up(member)),
  ];
  const answers = new Map<Member, Answer>();
  const asking = new Set<Promise<Answer>>();
  for (const member of order) {
    const asked: Promise<Answer> = ask(neighbours, member, key, failed).then((answer) => {
      answers.set(member, answer);
      asking.delete(asked);
      return answer;
    });
    asking.add(asked);
    const bytes = await firstBlock(asking, hedgeAfterMs, background.signal);
    if (bytes !== undefined) return { bytes, lacking: lackingOf(proper, answers) };
  }
  const bytes = await firstBlock(asking, undefined, background.signal);
  if (bytes !== undefined) return { bytes, lacking: lackingOf(proper, answers) };
  const silent = order.filter((member) => answers.get(member)?.kind !== 'none');
  if (silent.length === 0) throw new StoreFault('missing', 'no holder has this block');
  throw new StoreFault('unavailable', `${silent.length} of ${order.length} holders of this block gave no answer`);
}

function lackingOf(proper: readonly Member[], answers: ReadonlyMap<Member, Answer>): Member[] {
  return proper.filter((member) => answers.get(member)?.kind === 'none');
}

async function ask(
  neighbours: Neighbours,
  member: Member,
  key: Uint8Array,
  failed: (member: Member, cause: unknown) => void,
): Promise<Answer> {
  try {
    const bytes = await neighbours.holder(member).fetch(key);
    return bytes === undefined ? { kind: 'none' } : { kind: 'block', bytes };
  } catch (cause) {
    failed(member, cause);
    return { kind: 'failed' };
  }
}

/** The first block among the answers under way; undefined when none of them has one, or when nothing came within `waitMs`. */
async function firstBlock(
  asking: ReadonlySet<Promise<Answer>>,
  waitMs: number | undefined,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  const over = new AbortController();
  const waited = waitMs === undefined ? [] : [pause(waitMs, AbortSignal.any([signal, over.signal]))];
  try {
    while (asking.size > 0) {
      const answer = await Promise.race([...asking, ...waited]);
      if (answer === undefined) return undefined;
      if (answer.kind === 'block') return answer.bytes;
    }
    return undefined;
  } finally {
    over.abort();
  }
}
