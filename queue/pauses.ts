/** What is paused, as a worker asks it for each job; and how a pause is written down. */
import { shortWhy } from './job-limits.ts';
import { everyLane, type Pause, QueueFault } from './queue.ts';

/** They are read whole, again and again. */
export const maxPauses = 1_000;

/** Throws QueueFault `queue-full` where no further lane can be paused. */
export function checkPauses(pauses: readonly Pause[], lane: string): void {
  if (pauses.length < maxPauses || pauses.some((one) => one.lane === lane)) return;
  const message = `${maxPauses} lanes are paused already; resume some, or pause everything`;
  throw new QueueFault('queue-full', message);
}

export function encodePause(reason: string, at: number): string {
  return JSON.stringify({ reason: shortWhy(reason), at });
}

/** A pause that cannot be read is a pause still: someone asked for it. */
export function decodePause(lane: string, text: string): Pause {
  try {
    const { reason, at } = JSON.parse(text) as { reason?: unknown; at?: unknown };
    if (typeof reason === 'string' && typeof at === 'number') return { lane, reason, at };
  } catch {
    // Told below.
  }
  return { lane, reason: 'its record is damaged', at: 0 };
}

export class PauseBook {
  #lanes: ReadonlySet<string> = new Set();

  /** True if it differs from what was known. */
  update(pauses: readonly Pause[]): boolean {
    const next = new Set(pauses.map(({ lane }) => lane));
    const same = next.size === this.#lanes.size && [...next].every((lane) => this.#lanes.has(lane));
    this.#lanes = next;
    return !same;
  }

  get everything(): boolean {
    return this.#lanes.has(everyLane);
  }

  isPaused(lane: string): boolean {
    return this.#lanes.has(everyLane) || this.#lanes.has(lane);
  }
}
