/** When to try again. Pure: chance comes as an argument. */

export interface RetrySettings {
  readonly firstMs: number;
  readonly maxMs: number;
  /** A message that could not be delivered for so long goes back to its sender. */
  readonly giveUpMs: number;
}

/**
 * RFC 5321 §4.5.4.1 asks for 30 minutes between tries and 4 to 5 days in all. The first tries come sooner, since greylisting and restarts
 * are over in minutes; from 4 h on the sender has been told that it takes longer.
 */
export const defaultRetry: RetrySettings = { firstMs: 60_000, maxMs: 4 * 3_600_000, giveUpMs: 5 * 24 * 3_600_000 };

/** The time of the next try after `failures` tries; doubling, and ±20 % so that what failed together does not come back together. */
export function nextTryAt(retry: RetrySettings, failures: number, now: number, random: () => number): number {
  const doubled = retry.firstMs * 2 ** Math.min(Math.max(0, failures - 1), 40);
  return Math.round(now + Math.min(retry.maxMs, doubled) * (0.8 + 0.4 * random()));
}
