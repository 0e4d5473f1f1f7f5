import type { Log as PostLog } from '../log/log.ts';
import { samePlace } from '../log/place.ts';
import type { IndexCache } from './index-cache.ts';
import { type Replay, replay, type States } from './log-writer.ts';
import type { Log } from './mail-post.ts';

/** How a state becomes octets and back. `decode` throws for what is none. */
export interface StateForm<State> {
  readonly fresh: () => State;
  readonly encode: (state: State) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => State;
  /** About how many records the state is worth: a large state is written more rarely. */
  readonly weight: (state: State) => number;
  /** False where items of the log were lost: then it is made anew each time, so that it is whole again when they come back. */
  readonly whole: (state: State) => boolean;
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
export class StateKeeper<State extends Replay<unknown>> implements States<State> {
  readonly #options: Options<State>;
  #cachedAt: number;
  #snapshotAt: number;
  #saving: Promise<void> | undefined;
  #state: State;

  private constructor(options: Options<State>, start: { state: State; cachedAt: number; snapshotAt: number }) {
    this.#options = options;
    this.#state = start.state;
    this.#cachedAt = start.cachedAt;
    this.#snapshotAt = start.snapshotAt;
  }

  /** The state of the whole log: from the cache, else from the newest snapshot, else from the first record on. */
  static async open<State extends Replay<unknown>>(options: Options<State>): Promise<StateKeeper<State>> {
    const start = (await fromCache(options)) ?? (await fromLog(options));
    await replay(options.log, start.state);
    return new StateKeeper(options, start);
  }

  get state(): State {
    return this.#state;
  }

  /** For when the log has another history than the state: of that nothing is kept. */
  async rebuild(): Promise<void> {
    const start = await fromLog(this.#options);
    await replay(this.#options.log, start.state);
    this.#state = start.state;
    this.#cachedAt = start.cachedAt;
    this.#snapshotAt = start.snapshotAt;
  }

  /** To be called after records were applied: writes the state in the background where that is due. */
  changed(): void {
    const { form, log } = this.#options;
    const due = Math.max(minRecords, form.weight(this.state) / share);
    if (!form.whole(this.state)) return;
    const { seq } = this.state.place;
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
    if (!form.whole(this.state)) return;
    const { place } = this.state;
    const { seq } = place;
    const state = form.encode(this.state);
    try {
      if (withSnapshot) {
        await log.saveSnapshot(place, state);
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
    if (this.state.place.seq !== this.#cachedAt) await this.#save(false);
  }
}

type Start<State> = { readonly state: State; readonly cachedAt: number; readonly snapshotAt: number };

async function fromCache<State extends Replay<unknown>>(options: Options<State>): Promise<Start<State> | undefined> {
  const { name, log, cache, events } = options;
  const cached = cache.load(name);
  if (cached === undefined) return undefined;
  const state = readState(options, cached.state);
  if (state === undefined) events.warn({ name }, 'the cached index cannot be read; it is rebuilt from the log');
  // Otherwise it was made from another log, or another history of this one.
  if (state === undefined || !(await log.holds(state.place))) return undefined;
  return { state, cachedAt: cached.seq, snapshotAt: cached.snapshotAt };
}

async function fromLog<State extends Replay<unknown>>(options: Options<State>): Promise<Start<State>> {
  return (await fromSnapshot(options)) ?? { state: options.form.fresh(), cachedAt: 0, snapshotAt: 0 };
}

async function fromSnapshot<State extends Replay<unknown>>(options: Options<State>): Promise<Start<State> | undefined> {
  const { name, log, events } = options;
  try {
    const snapshot = await log.snapshot();
    if (snapshot === undefined) return undefined;
    const state = readState(options, snapshot.state);
    if (state !== undefined && samePlace(state.place, snapshot.at))
      return { state, cachedAt: 0, snapshotAt: snapshot.at.seq };
  } catch (error) {
    events.warn({ name, err: error }, 'the snapshot cannot be fetched; the index is rebuilt from the first record');
    return undefined;
  }
  events.warn({ name }, 'the snapshot cannot be read; the index is rebuilt from the first record');
  return undefined;
}

function readState<State extends Replay<unknown>>(options: Options<State>, state: Uint8Array): State | undefined {
  try {
    return options.form.decode(state);
  } catch {
    return undefined;
  }
}
