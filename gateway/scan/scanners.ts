/** Optional scanners of content as evidence. */
import type { Evidence } from '../../policy/evidence.ts';
import { askClamav } from './clamav.ts';
import { readEndpoint } from './endpoint.ts';
import { askRspamd, type RspamdFacts } from './rspamd.ts';

export interface ScanSettings {
  /** A Unix socket's path or a loopback HOST:PORT; null: not asked. */
  readonly clamav: string | null;
  readonly rspamd: string | null;
  readonly timeoutMs: number;
}

export type ScanEvidence = Pick<Evidence, 'clamav' | 'rspamd'>;

export interface Scanners {
  /** What those that are asked say, within the time-out. Never throws. */
  of(message: Uint8Array, facts: RspamdFacts): Promise<ScanEvidence>;
}

const notAsked: ScanEvidence = {
  clamav: { result: 'none', name: '', reason: '' },
  rspamd: { result: 'none', score: 0, symbols: [], reason: '' },
};

/** None is configured. */
export const noScanners: Scanners = { of: () => Promise.resolve(notAsked) };

// clamd has ten threads unless told otherwise; more at once would only wait there, holding a message each.
const maxAtOnce = 10;

export function scanners(settings: ScanSettings): Scanners {
  const clamav = endpointOf(settings.clamav);
  const rspamd = endpointOf(settings.rspamd);
  if (clamav === undefined && rspamd === undefined) return noScanners;
  const gate = new Gate(maxAtOnce);
  return {
    async of(message, facts) {
      // The waiting for a turn counts: a client waits for the whole.
      const signal = AbortSignal.timeout(settings.timeoutMs);
      return gate.through(signal, async (open) => {
        const late = 'it had no time left';
        const [virus, spam] = await Promise.all([
          clamav === undefined
            ? notAsked.clamav
            : open
              ? askClamav(clamav, message, signal)
              : ({ result: 'unknown', name: '', reason: `ClamAV: ${late}` } as const),
          rspamd === undefined
            ? notAsked.rspamd
            : open
              ? askRspamd(rspamd, message, facts, signal)
              : ({ result: 'unknown', score: 0, symbols: [], reason: `rspamd: ${late}` } as const),
        ]);
        return { clamav: virus, rspamd: spam };
      });
    },
  };
}

function endpointOf(text: string | null): ReturnType<typeof readEndpoint> {
  return text === null ? undefined : readEndpoint(text);
}

/** So many at once; the rest wait in order, until their own time ends. */
class Gate {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(places: number) {
    this.#free = places;
  }

  async through<T>(signal: AbortSignal, work: (open: boolean) => Promise<T>): Promise<T> {
    const open = await this.#enter(signal);
    try {
      return await work(open);
    } finally {
      if (open) this.#leave();
    }
  }

  #enter(signal: AbortSignal): Promise<boolean> {
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const go = (): void => {
        signal.removeEventListener('abort', stop);
        resolve(true);
      };
      const stop = (): void => {
        this.#waiting.delete(go);
        resolve(false);
      };
      this.#waiting.add(go);
      signal.addEventListener('abort', stop, { once: true });
    });
  }

  #leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#free += 1;
    else {
      this.#waiting.delete(next);
      next();
    }
  }
}
