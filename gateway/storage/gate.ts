import type { Queue, Worker } from '../../queue/queue.ts';
import { needsReopening } from '../../queue/reopening.ts';
import { afterProbe, type GateState, open, type Probe } from './gate-state.ts';

export interface StorageGate {
  /** Why nothing is taken for now; undefined while all is well. Costs nothing: asked at each connection and command. */
  readonly shut: () => { readonly why: string; readonly since: number } | undefined;
  /** The same write, which shuts the gate if it fails, or if it is not on disk after `slowMs`. */
  readonly watched: <T>(write: Promise<T>) => Promise<T>;
  /** The worker, begun only while the gate is open: deliveries write, too. Throws where its signal aborts before that. */
  readonly whenOpen: (worker: Worker) => Worker;
  readonly stop: () => Promise<void>;
}

export interface GateParts {
  readonly queue: Pick<Queue, 'health' | 'setMark'>;
  /** Writes something beside the queue and syncs it; rejects where the disk takes nothing. */
  readonly tryDisk: () => Promise<void>;
  readonly now: () => number;
  readonly log: { error(facts: object, message: string): void; info(facts: object, message: string): void };
  /** Called once, when the queue has to be opened anew before it can be used again: the process had better start again. */
  readonly onBroken: () => void;
  /** Between two probes. */
  readonly everyMs?: number;
  /** After which a disk that has not answered counts as broken. */
  readonly slowMs?: number;
}

// Space for thousands of messages does not go within a second; and a client told to come again does so after minutes.
const defaultEveryMs = 1_000;
// A synced write takes milliseconds, and a second on a very busy disk. Clients wait ten minutes for the reply to their data (RFC 5321 §4.5.3.2.6).
const defaultSlowMs = 10_000;
const probeKey = 'storage-gate';
const probeKeptMs = 60_000;

/**
 * The health gate of DESIGN §13: watches the disk under the queue, by its free space, by the writes of accepted mail, and while it is shut by synced
 * writes of its own, so that it opens by itself and never because nothing was tried. A disk that hangs holds up one probe, and nobody who asks.
 * Resolves after the first probe.
 */
export async function startStorageGate({
  queue,
  tryDisk,
  now,
  log,
  onBroken,
  everyMs = defaultEveryMs,
  slowMs = defaultSlowMs,
}: GateParts): Promise<StorageGate> {
  let state: GateState = open;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let probing: Promise<void> = Promise.resolve();
  /** A write that hangs is not joined by another. */
  let hanging: Promise<Probe> | undefined;
  const waiting = new Set<() => void>();

  const become = (next: GateState): void => {
    const before = state;
    state = next;
    if (before.at === 'open' && next.at === 'shut')
      log.error({ why: next.why }, 'no mail is taken, and deliveries pause, until the disk is well again');
    if (before.at === 'shut' && next.at === 'open') {
      log.info({ was: before.why, lastedMs: now() - before.since }, 'the disk is well again; mail is taken');
      for (const wake of waiting) wake();
    }
  };
  let broken = false;
  const failed = (fault: unknown): Probe => {
    if ((needsReopening(fault) || fault instanceof QueueHangs) && !broken && !stopped) {
      broken = true;
      onBroken();
    }
    return { ok: false, why: textOf(fault) };
  };
  const found = (probe: Probe): void => {
    if (!stopped) become(afterProbe(state, probe, now()));
  };

  async function look(): Promise<Probe> {
    try {
      // The disk first: a process that starts again before it is well only fails again. Then a write: what the queue says of itself is the outcome of its last.
      if (state.at === 'shut') {
        await tryDisk();
        await inTime(queue.setMark(probeKey, new Uint8Array(), now() + probeKeptMs), slowMs);
      }
      return await queue.health();
    } catch (fault) {
      return failed(fault);
    }
  }

  async function probe(): Promise<void> {
    hanging ??= look().finally(() => {
      hanging = undefined;
    });
    // Longer than the queue's own write may take, so that the two can be told apart.
    found(await within(hanging, 2 * slowMs));
  }

  const next = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      probing = probe().finally(next);
    }, everyMs);
  };
  await probe();
  next();
  return {
    shut: () => (state.at === 'shut' ? { why: state.why, since: state.since } : undefined),
    watched: async (write) => {
      const slow = setTimeout(() => found(notInTime(slowMs)), slowMs);
      try {
        return await write;
      } catch (fault) {
        // Whether a new process is wanted is found out by the probes, once the disk takes writes again.
        if (isDiskFault(fault)) found({ ok: false, why: textOf(fault) });
        throw fault;
      } finally {
        clearTimeout(slow);
      }
    },
    whenOpen: (worker) => async (job, signal) => {
      if (state.at === 'shut') await opened(waiting, signal);
      return await worker(job, signal);
    },
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      // A probe of a disk that hangs is nobody's to wait for.
      await Promise.race([probing, new Promise((resolve) => setTimeout(resolve, 100).unref())]);
    },
  };
}

/** Resolves when the gate opens; rejects when the signal aborts, with its reason. */
function opened(waiting: Set<() => void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => (): void => {
      waiting.delete(wake);
      signal.removeEventListener('abort', abort);
      settle();
    };
    const wake = end(resolve);
    const abort = end(() => reject(new Error('stopped while the disk was not well', { cause: signal.reason })));
    waiting.add(wake);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
  });
}

/** The disk takes writes and the queue does not end one: lmdb can lose its way when a commit fails under several writers. */
class QueueHangs extends Error {}

async function inTime(write: Promise<void>, ms: number): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new QueueHangs('the queue does not end a write on a disk that takes others')),
    ms,
  );
  await Promise.race([write, late]).finally(() => clearTimeout(timer));
}

const notInTime = (ms: number): Probe => ({ ok: false, why: `the disk has not answered for ${ms / 1_000} s` });

async function within(probe: Promise<Probe>, ms: number): Promise<Probe> {
  const { promise, resolve } = Promise.withResolvers<Probe>();
  const timer = setTimeout(() => resolve(notInTime(ms)), ms);
  return await Promise.race([probe, promise]).finally(() => clearTimeout(timer));
}

/** Not that a job is malformed or too large: that is no matter of the disk. */
export function isDiskFault(fault: unknown): boolean {
  return needsReopening(fault) || (fault instanceof Error && 'code' in fault && fault.code === 'queue-io');
}

function textOf(fault: unknown): string {
  return fault instanceof Error ? fault.message : String(fault);
}
