import { LogFault } from '../log/fault.ts';
import type { Log as PostLog } from '../log/log.ts';
import { asMailFault, MailFault } from './fault.ts';

/** A state that is a function of a log's records. */
export interface Replay<Outcome> {
  /** Records applied. */
  readonly seq: number;
  apply(record: Uint8Array): Outcome;
}

/** One change: what to write, seen from the state before its batch, and what the caller is told once it is written and applied. */
export interface Step<Outcome, Answer> {
  /** `earlier`: records that will be applied before these but are not in the state yet. May throw: nothing is written then. */
  plan(earlier: number): readonly Uint8Array[];
  answer(outcomes: readonly Outcome[]): Answer;
}

type Waiting<Outcome> = {
  readonly plan: (earlier: number) => readonly Uint8Array[];
  readonly settle: (outcomes: readonly Outcome[]) => void;
  readonly fail: (error: unknown) => void;
};

type Plan<Outcome> = {
  readonly records: readonly Uint8Array[];
  readonly planned: readonly { readonly step: Waiting<Outcome>; readonly from: number; readonly to: number }[];
};

// Another writer that is always faster; then the caller is better told.
const maxPlans = 5;
// One head carries them all; enough to make a flood of small changes cheap, few enough that the first is not kept waiting.
const maxStepsPerHead = 200;

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** Applies the records from `state.seq` up to `end` (all of them without it). */
export async function replay<Outcome>(log: PostLog, state: Replay<Outcome>, end = Infinity): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  if (state.seq >= Math.min(end, log.length)) return outcomes;
  for await (const { seq, record } of log.read(state.seq)) {
    if (seq >= end) break;
    if (seq !== state.seq) throw new MailFault('damaged', `record ${seq} of ${log.name} where ${state.seq} was due`);
    outcomes.push(state.apply(record));
  }
  return outcomes;
}

/**
 * The one writer of a log and its state. Changes asked for while a head is being written wait and go together into the next one; each is
 * planned against the state that all before it have left, and again when another writer's records came in before it. The state moves only after the records are in the ring.
 */
export class LogWriter<Outcome> {
  readonly #log: PostLog;
  readonly #state: Replay<Outcome>;
  readonly #applied: (outcomes: readonly Outcome[]) => void;
  readonly #waiting: Waiting<Outcome>[] = [];
  #running: Promise<void> | undefined;
  #ended: MailFault | undefined;

  /** `applied` is told everything that changed, in order, before the callers are. It must not throw. */
  constructor(log: PostLog, state: Replay<Outcome>, applied: (outcomes: readonly Outcome[]) => void) {
    this.#log = log;
    this.#state = state;
    this.#applied = applied;
  }

  async write<Answer>(step: Step<Outcome, Answer>): Promise<Answer> {
    if (this.#ended !== undefined) throw this.#ended;
    const answer = new Promise<Answer>((resolve, reject) => {
      const settle = (outcomes: readonly Outcome[]): void => {
        try {
          resolve(step.answer(outcomes));
        } catch (error) {
          reject(asError(error));
        }
      };
      this.#waiting.push({ plan: (earlier) => step.plan(earlier), settle, fail: reject });
    });
    this.#running ??= this.#run();
    return answer;
  }

  async #follow(): Promise<void> {
    const merged = await replay(this.#log, this.#state);
    if (merged.length > 0) this.#applied(merged);
  }

  /** No more changes: what waits is finished, what comes later gets this fault. */
  async end(fault: MailFault): Promise<void> {
    this.#ended = fault;
    await this.#running;
  }

  async #run(): Promise<void> {
    // The callers of this turn of the event loop share the first head.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#batch(this.#waiting.splice(0, maxStepsPerHead));
    this.#running = undefined;
  }

  /** Never rejects: each caller gets its own answer or fault. */
  async #batch(steps: readonly Waiting<Outcome>[]): Promise<void> {
    const failed = new Set<Waiting<Outcome>>();
    for (let plans = 1; ; plans++) {
      const { records, planned } = this.#plan(steps, failed);
      try {
        const outcomes = await this.#append(records);
        for (const { step, from, to } of planned) step.settle(outcomes.slice(from, to));
        return;
      } catch (error) {
        if (plans < maxPlans && (await this.#isFollowed(error))) continue;
        for (const { step } of planned) step.fail(asMailFault(error, 'the change could not be written'));
        return;
      }
    }
  }

  /** What the steps want to write, seen from the state as it is now. One that throws is told, and not asked again. */
  #plan(steps: readonly Waiting<Outcome>[], failed: Set<Waiting<Outcome>>): Plan<Outcome> {
    const records: Uint8Array[] = [];
    const planned: { readonly step: Waiting<Outcome>; readonly from: number; readonly to: number }[] = [];
    for (const step of steps) {
      if (failed.has(step)) continue;
      try {
        const from = records.length;
        records.push(...step.plan(from));
        planned.push({ step, from, to: records.length });
      } catch (error) {
        failed.add(step);
        step.fail(error);
      }
    }
    return { records, planned };
  }

  /** Whether the fault was only that others' records came first, and they are in the state now. */
  async #isFollowed(error: unknown): Promise<boolean> {
    if (!(error instanceof LogFault) || error.code !== 'overtaken') return false;
    try {
      await this.#follow();
      return true;
    } catch {
      return false; // The caller hears `overtaken`, which is as true, and that nothing was changed.
    }
  }

  async #append(records: readonly Uint8Array[]): Promise<Outcome[]> {
    if (records.length === 0) return [];
    await this.#log.append(records, this.#state.seq);
    const outcomes = records.map((record) => this.#state.apply(record));
    this.#applied(outcomes);
    return outcomes;
  }
}
