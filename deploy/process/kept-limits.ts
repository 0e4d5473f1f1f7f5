import { readFileSync } from 'node:fs';
import { Limits, type LimitsSnapshot } from '../../policy/limits.ts';
import { writeFileDurably } from '../home/files.ts';

// What a crash forgets of the buckets: at most half a minute's worth, always to the sender's favour.
const keepEveryMs = 30_000;

/** The token buckets of the policy, kept in a file over restarts. */
export class KeptLimits {
  readonly limits = new Limits();
  readonly #file: string;
  readonly #now: () => number;
  readonly #onFault: (fault: unknown) => void;
  readonly #timer: NodeJS.Timeout;

  /** `onFault` hears of a disk that does not take the file; mail goes on without it. */
  constructor(file: string, now: () => number, onFault: (fault: unknown) => void) {
    this.#file = file;
    this.#now = now;
    this.#onFault = onFault;
    this.limits.restore(readSnapshot(file), now());
    this.#timer = setInterval(() => this.#keep(), keepEveryMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#keep();
  }

  #keep(): void {
    try {
      writeFileDurably(this.#file, JSON.stringify(this.limits.snapshot(this.#now())));
    } catch (fault) {
      // Thrown from a timer it would end the gateway, every half minute, for as long as the disk is full.
      this.#onFault(fault);
    }
  }
}

/** An empty snapshot where there is none or it is damaged: a forgotten bucket is a full one. */
function readSnapshot(file: string): LimitsSnapshot {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as LimitsSnapshot;
  } catch {
    return { version: 1, buckets: [] };
  }
}
