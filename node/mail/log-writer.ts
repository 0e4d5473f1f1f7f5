import { LogFault } from '../log/fault.ts';
import type { Log as PostLog } from '../log/log.ts';
import { itemsAfter, type LogItem, type Place, type Takes } from '../log/place.ts';
import { asMailFault, MailFault } from './fault.ts';

/** A state that is a function of a log's items. */
export interface Replay<Outcome> {
  /** Behind the last item applied. */
  readonly place: Place;
  apply(item: LogItem): Outcome;
}

/** The state of a log as it is now; another object after the log's history has changed under it. */
export interface States<State> {
  readonly state: State;
  /** Makes the state anew from the log. */
  rebuild(): Promise<void>;
}

/** Who is told what became of the state, in order, before the callers are. Must not throw. */
export interface Listener<State, Outcome> {
  applied(outcomes: readonly Outcome[]): void;
  /** Another history of the log went on: what was `before`, and what the state is now. */
  rebuilt(before: State): void;
  /** What others wrote could not be looked up; it is tried again. */
  failed(cause: unknown): void;
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

/** Applies the items from `state.place` to the end of the log. */
export async function replay<Outcome>(
  log: Pick<PostLog, 'name' | 'length' | 'read'>,
  state: Replay<Outcome>,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  if (state.place.seq >= log.length) return outcomes;
  for await (const item of log.read(state.place.seq)) {
    if (item.seq !== state.place.seq)
      throw new MailFault('damaged', `item ${item.seq} of ${log.name} where ${state.place.seq} was due`);
    outcomes.push(state.apply(item));
  }
  return outcomes;
}

/**
 * The one writer of a log and its state. Changes asked for while a head is being written wait and go together into the next one; each is
 * planned against the state that all before it have left, and again when another writer's records came in before it. The state moves only after the records are in the ring.
 */
export class LogWriter<State extends Replay<Outcome>, Outcome> {
  readonly #log: PostLog;
  readonly #states: States<State>;
  readonly #takes: Takes;
  readonly #listener: Listener<State, Outcome>;
  readonly #waiting: Waiting<Outcome>[] = [];
  #running: Promise<void> | undefined;
  #behind = false;
  #ended: MailFault | undefined;

  /** `takes`: as the log was opened. */
  constructor(log: PostLog, states: States<State>, takes: Takes, listener: Listener<State, Outcome>) {
    this.#log = log;
    this.#states = states;
    this.#takes = takes;
    this.#listener = listener;
  }

  /** Begins to bring in what other nodes of the user have written by now. */
  look(): void {
    if (this.#ended !== undefined) return;
    this.#behind = true;
    this.#running ??= this.#run();
  }

  /** Resolves when it is brought in, or that has failed: then the next look finds it. */
  async catchUp(): Promise<void> {
    this.look();
    await this.#running;
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

  /** Applies what the log has and the state has not; where the log's history is another one by now, the state is made anew. */
  async #follow(): Promise<void> {
    const { state } = this.#states;
    if (await this.#log.holds(state.place)) {
      const outcomes = await replay(this.#log, state);
      if (outcomes.length > 0) this.#listener.applied(outcomes);
    } else {
      await this.#states.rebuild();
      this.#listener.rebuilt(state);
    }
  }

  /** No more changes: what waits is finished, what comes later gets this fault. */
  async end(fault: MailFault): Promise<void> {
    this.#ended = fault;
    await this.#running;
  }

  async #run(): Promise<void> {
    // The callers of this turn of the event loop share the first head.
    await Promise.resolve();
    while (this.#waiting.length > 0 || this.#behind) {
      if (this.#behind) await this.#bringIn();
      if (this.#waiting.length > 0) await this.#batch(this.#waiting.splice(0, maxStepsPerHead));
    }
    this.#running = undefined;
  }

  async #bringIn(): Promise<void> {
    this.#behind = false;
    try {
      await this.#log.refresh();
      await this.#follow();
    } catch (cause) {
      this.#listener.failed(cause);
    }
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
    const { state } = this.#states;
    const { place } = state;
    await this.#log.append(records, place);
    const outcomes = [...itemsAfter(place, records, this.#takes)].map((item) => state.apply(item));
    this.#listener.applied(outcomes);
    return outcomes;
  }
}
