import type { Log as PostLog } from '../log/log.ts';
import type { CachedState, IndexCache } from './index-cache.ts';
import { type Replay, replay } from './log-writer.ts';
import type { Log } from './mail-post.ts';

/** How a state becomes octets and back. `decode` throws for what is none. */
export interface StateForm<State> {
  readonly fresh: () => State;
  readonly encode: (state: State) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => State;
  /** About how many records the state is worth: a large state is written more rarely. */
  readonly weight: (state: State) => number;
}

// A state is worth writing after this many records (DESIGN §7: more than 500 behind the last snapshot), and for a large one only after an eighth of
// itself: then all the writing of a growing folder together stays in proportion to its length, and so does replay.
const minRecords = 501;
const share = 8;

type Options<State> = {
  readonly name: string;
  readonly log: PostLog;
  readonly cache: IndexCache;
  readonly form: StateForm<State>;
  readonly events: Log;
};

/** Keeps a log's state in the local cache and as snapshots in the ring, so that opening it never replays everything. */
export class StateKeeper<State extends Replay<unknown>> {
  readonly state: State;
  readonly #options: Options<State>;
  #cachedAt: number;
  #snapshotAt: number;
  #saving: Promise<void> | undefined;

  private constructor(options: Options<State>, start: { state: State; cachedAt: number; snapshotAt: number }) {
    this.#options = options;
    this.state = start.state;
    this.#cachedAt = start.cachedAt;
    this.#snapshotAt = start.snapshotAt;
  }

  /** The state of the whole log: from the cache, else from the newest snapshot, else from the first record on. */
  static async open<State extends Replay<unknown>>(options: Options<State>): Promise<StateKeeper<State>> {
    const start = fromCache(options) ??
      (await fromSnapshot(options)) ?? {
        state: options.form.fresh(),
        cachedAt: 0,
        snapshotAt: 0,
      };
    await replay(options.log, start.state);
    return new StateKeeper(options, start);
  }

  /** To be called after records were applied: writes the state in the background where that is due. */
  changed(): void {
    const { form, log } = this.#options;
    const due = Math.max(minRecords, form.weight(this.state) / share);
    const { seq } = this.state;
    const cacheDue = seq - this.#cachedAt >= due;
    const snapshotDue = seq - this.#snapshotAt >= due && log.snapshotDue();
    if (this.#saving !== undefined || (!cacheDue && !snapshotDue)) return;
    this.#saving = this.#save(snapshotDue).finally(() => {
      this.#saving = undefined;
    });
  }

  /** Both are only accelerations: that one could not be written is no fault of the change that was. */
  async #save(withSnapshot: boolean): Promise<void> {
    const { name, log, cache, form, events } = this.#options;
    const { seq } = this.state;
    const state = form.encode(this.state);
    try {
      if (withSnapshot) {
        await log.saveSnapshot(seq, state);
        this.#snapshotAt = seq;
      }
      await cache.save(name, { seq, snapshotAt: this.#snapshotAt, state });
      this.#cachedAt = seq;
    } catch (error) {
      events.warn({ name, seq, err: error }, 'a snapshot could not be kept; it is tried again later');
    }
  }

  /** Keeps the state for the next start. */
  async close(): Promise<void> {
    await this.#saving;
    if (this.state.seq !== this.#cachedAt) await this.#save(false);
  }
}

type Start<State> = { readonly state: State; readonly cachedAt: number; readonly snapshotAt: number };

function fromCache<State extends Replay<unknown>>(options: Options<State>): Start<State> | undefined {
  const { name, log, cache, events } = options;
  const cached = cache.load(name);
  // Ahead of the log: it was made from another one.
  if (cached === undefined || cached.seq > log.length) return undefined;
  const state = readState(options, cached);
  if (state === undefined) events.warn({ name }, 'the cached index cannot be read; it is rebuilt from the log');
  return state === undefined ? undefined : { state, cachedAt: cached.seq, snapshotAt: cached.snapshotAt };
}

async function fromSnapshot<State extends Replay<unknown>>(options: Options<State>): Promise<Start<State> | undefined> {
  const { name, log, events } = options;
  try {
    const snapshot = await log.snapshot();
    if (snapshot === undefined) return undefined;
    const state = readState(options, snapshot);
    if (state !== undefined) return { state, cachedAt: 0, snapshotAt: snapshot.seq };
  } catch (error) {
    events.warn({ name, err: error }, 'the snapshot cannot be fetched; the index is rebuilt from the first record');
    return undefined;
  }
  events.warn({ name }, 'the snapshot cannot be read; the index is rebuilt from the first record');
  return undefined;
}

function readState<State extends Replay<unknown>>(
  options: Options<State>,
  { seq, state }: Pick<CachedState, 'seq' | 'state'>,
): State | undefined {
  try {
    const read = options.form.decode(state);
    return read.seq === seq ? read : undefined;
  } catch {
    return undefined;
  }
}
