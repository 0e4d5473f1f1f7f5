import { type Background, pause } from './background.ts';
import { Collection, type CollectionTools, type CollectReport } from './collection.ts';

// What dies has had weeks for it: an hour more is nothing. Not while everything else is starting.
const everyMs = 3_600_000;

const nothing: CollectReport = { looked: 0, ended: 0, orphaned: 0, misplaced: 0, learnt: 0, undecided: 0, deleted: 0 };

/** Decides when a node looks for what nobody keeps any more: every hour, one walk at a time. */
export class Collector {
  readonly #tools: CollectionTools;
  readonly #background: Background;
  readonly #isSettled: () => boolean;
  #running: Promise<CollectReport> | undefined;

  /** `isSettled`: a node that does not yet know what belongs to it does not judge. */
  constructor(tools: CollectionTools, background: Background, isSettled: () => boolean) {
    this.#tools = tools;
    this.#background = background;
    this.#isSettled = isSettled;
  }

  start(): void {
    this.#background.own(this.#hourly(), () => undefined);
  }

  runNow(): Promise<CollectReport> {
    if (!this.#isSettled()) return Promise.resolve(nothing);
    this.#running ??= new Collection(this.#tools).run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #hourly(): Promise<void> {
    const { signal } = this.#background;
    for (;;) {
      await pause(everyMs, signal);
      if (signal.aborted) return;
      await this.runNow().catch(() => undefined);
    }
  }
}
