import type { RepairReport, Store } from '../../node/store/store.ts';

export interface StoreCheckReport extends RepairReport {
  /** Damaged copies that lie set aside and could not be replaced yet. */
  readonly setAside: number;
  /** Accounts whose sums were wrong, and are right now. */
  readonly accountsMended: number;
  readonly seconds: number;
}

export type StoreCheckState =
  | { readonly at: 'never' | 'running' }
  | { readonly at: 'done'; readonly report: StoreCheckReport }
  | { readonly at: 'failed'; readonly why: string };

type Checked = Pick<Store, 'repair' | 'recount' | 'stats'>;

/**
 * Reads and hashes everything that the store has on this disk, which may take longer than a question at the door: it is begun, and then asked
 * for. One at a time; whoever begins another meanwhile gets the same.
 */
export class StoreCheck {
  readonly #store: Checked;
  readonly #now: () => number;
  #state: StoreCheckState = { at: 'never' };

  constructor(store: Checked, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  get state(): StoreCheckState {
    return this.#state;
  }

  begin(): StoreCheckState {
    if (this.#state.at !== 'running') {
      this.#state = { at: 'running' };
      const failed = (fault: unknown): void => {
        this.#state = { at: 'failed', why: fault instanceof Error ? fault.message : String(fault) };
      };
      // The store owns the work: when it stops, this ends with a fault.
      this.#run().catch(failed);
    }
    return this.#state;
  }

  async #run(): Promise<void> {
    const begun = this.#now();
    const found = await this.#store.repair();
    const accountsMended = await this.#store.recount();
    const { damaged: setAside } = await this.#store.stats();
    const seconds = Math.round((this.#now() - begun) / 1_000);
    this.#state = { at: 'done', report: { ...found, setAside, accountsMended, seconds } };
  }
}
