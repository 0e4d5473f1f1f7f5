import { setTimeout as sleep } from 'node:timers/promises';

const firstRetryMs = 500;
const longestRetryMs = 30_000;
// A directory entry is published again this often, so that a ring that lost it has it back within a day.
const dayMs = 86_400_000;

export interface Residence {
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Tried until it does not throw; the waits grow. */
  readonly enter: () => Promise<void>;
  readonly entered: () => void;
  readonly daily: () => Promise<void>;
  readonly notYet: (fault: unknown, retryInMs: number) => void;
  readonly dailyFailed: (fault: unknown) => void;
}

/** Brings an identity of this home into the ring and keeps it there. Resolves when it was ended. */
export async function reside({ signal, enter, entered, daily, notYet, dailyFailed }: Residence): Promise<void> {
  for (let waitMs = firstRetryMs; !signal.aborted; waitMs = Math.min(waitMs * 2, longestRetryMs)) {
    try {
      await enter();
      break;
    } catch (fault) {
      notYet(fault, waitMs);
      await pause(waitMs, signal);
    }
  }
  if (!signal.aborted) entered();
  while (!signal.aborted) {
    await pause(dayMs, signal);
    if (!signal.aborted) await daily().catch(dailyFailed);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
