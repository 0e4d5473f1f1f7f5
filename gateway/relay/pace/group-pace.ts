/**
 * How hard a group of mail servers may be worked, from what it has answered so far. Pure: the state after an answer is a function of the state before, so
 * that it can be written down, shown, and taken up by the next process.
 */

export interface GroupPace {
  /** Attempts at once. */
  readonly places: number;
  /** Good answers since `places` last changed. */
  readonly streak: number;
  /** Refusals for its sake, or silences, in a row. */
  readonly troubles: number;
  /** No attempt begins before. */
  readonly restUntil: number;
  /** It does not answer at all: until then jobs are put back with what it last said, without asking it. */
  readonly awayUntil: number;
  /** Its answers come quickly enough to give it more. */
  readonly isQuick: boolean;
  /** The last answer that was not good. */
  readonly said?: { readonly at: number; readonly text: string };
}

export type GroupAnswer =
  /** It took a message, or said of a message or a recipient what has nothing to do with how busy it is. */
  | { readonly kind: 'fine'; readonly tookMs: number }
  /** It asked for less: 421, or a 4xx for the session or the whole message. */
  | { readonly kind: 'busy'; readonly text: string }
  /** It let recipients wait (450, 451: greylisting, or too many at once, which cannot be told apart). */
  | { readonly kind: 'slower' }
  /** No server of it could be reached or spoken to. */
  | { readonly kind: 'away'; readonly text: string };

export interface PaceLimits {
  /** Of a group nothing is known about. */
  readonly firstPlaces: number;
  readonly maxPlaces: number;
}

/** One, so that a hundred dead and slow hosts that nobody knows yet do not take all places there are; large hosts object above twenty connections. */
export const defaultPaceLimits: PaceLimits = { firstPlaces: 1, maxPlaces: 20 };

/** A host rarely objects to so few: up to here each good answer is enough for one more. */
const soonGiven = 5;

/** A message that takes longer ties up a place that others could use: no more of these. */
const quickMs = 3_000;
const firstRestMs = 2_000;
/** A minute of rest after each refusal is what large hosts ask for; longer would hold up those who wait in the same lane. */
const maxRestMs = 60_000;
const firstAwayMs = 10_000;
/** One attempt each quarter of an hour finds out soon enough that a host is back. */
const maxAwayMs = 900_000;

export function newPace(limits: PaceLimits): GroupPace {
  return { places: limits.firstPlaces, streak: 0, troubles: 0, restUntil: 0, awayUntil: 0, isQuick: false };
}

/** Additive increase, multiplicative decrease: what TCP does for networks, for mail servers. `random` spreads the returns. */
export function afterAnswer(
  before: GroupPace,
  answer: GroupAnswer,
  limits: PaceLimits,
  now: number,
  random: () => number,
): GroupPace {
  const spread = 0.75 + 0.5 * random();
  const halved = Math.max(1, Math.floor(before.places / 2));
  const troubles = before.troubles + 1;
  switch (answer.kind) {
    case 'fine':
      return afterFine(before, answer.tookMs, limits);
    case 'slower':
      return { ...before, places: halved, streak: 0, awayUntil: 0 };
    case 'busy': {
      const restMs = Math.min(maxRestMs, firstRestMs * 2 ** Math.min(before.troubles, 20)) * spread;
      const said = { at: now, text: answer.text };
      // Several that were under way at once are one refusal.
      if (now < before.restUntil) return { ...before, said };
      return { ...before, places: halved, streak: 0, troubles, restUntil: now + restMs, awayUntil: 0, said };
    }
    default: {
      const awayMs = Math.min(maxAwayMs, firstAwayMs * 2 ** Math.min(before.troubles, 20)) * spread;
      const said = { at: now, text: answer.text };
      if (now < before.awayUntil) return { ...before, said };
      return { ...before, places: 1, streak: 0, troubles, awayUntil: now + awayMs, isQuick: false, said };
    }
  }
}

function afterFine(before: GroupPace, tookMs: number, limits: PaceLimits): GroupPace {
  const isQuick = tookMs <= quickMs;
  const { said: _, ...rest } = before;
  const calm = { ...rest, troubles: 0, restUntil: 0, awayUntil: 0, isQuick };
  if (!isQuick) return { ...calm, streak: 0 };
  const streak = before.streak + 1;
  // One more for each round of good answers: as many as there are places.
  const needed = before.places < soonGiven ? 1 : before.places;
  if (streak < needed || before.places >= limits.maxPlaces) return { ...calm, streak };
  return { ...calm, places: before.places + 1, streak: 0 };
}
