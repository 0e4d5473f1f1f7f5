/** One worker's loop over an embedded queue: takes lanes in turn, makes attempts, writes down how they ended. Sleeps until something is due. */
import type { Ending, SetbackDelays } from './course.ts';
import type { EmbeddedStore } from './embedded-store.ts';
import { weightOf } from './job-limits.ts';
import { type JobRecord, jobOf } from './job-record.ts';
import { LaneBoard, type Taken } from './lane-board.ts';
import type { LaneRule, QueueLog, Worker, WorkerHandle } from './queue.ts';
import { begun, ended, type Transition } from './transitions.ts';
import { Turns } from './turns.ts';

export interface LoopParts {
  readonly store: EmbeddedStore;
  /** The body, or undefined if it is not what was written. */
  readonly readBody: (record: JobRecord) => Promise<Uint8Array | undefined>;
  readonly removeBodies: (names: readonly string[]) => Promise<void>;
  readonly now: () => number;
  readonly delays: SetbackDelays;
  readonly log: QueueLog;
  readonly isPaused?: (lane: string) => boolean;
}

/** The clock may be set while we sleep. */
const longestSleepMs = 60_000;
/**
 * Attempts that begin in one turn of the event loop. Where a commit lets two hundred begin at once, their answers come at once, too, and the first waits
 * in the socket until the last was worked on: what a mail server has said 250 to and we have not read is sent again if the process is killed meanwhile.
 */
const beginsPerTurn = 2;
/** Being claimed, or claimed and not begun: as many as one commit should take for three thousand a second on a disk that needs 10 ms. */
const mostClaimed = 32;
/** After a disk fault, not at once again: a full disk answers quickly. */
const pauseAfterFaultMs = 1_000;

interface Lease {
  readonly record: JobRecord;
  readonly abort: AbortController;
  /** Given back: its ending no longer counts. */
  lost: boolean;
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A job that begins with the commit that adds it. */
export interface Born {
  /** To be added instead of the one that was asked about. */
  readonly record: JobRecord;
  /** It was added: the attempt is made, with this body or with the one on disk. */
  begin(body: Uint8Array | undefined): void;
  /** It was not. */
  cancel(): void;
}

export class WorkerLoop implements WorkerHandle {
  readonly #parts: LoopParts;
  readonly #rule: LaneRule;
  readonly #worker: Worker;
  readonly #board: LaneBoard;
  readonly #running = new Set<Promise<void>>();
  readonly #leases = new Set<Lease>();
  readonly #turns = new Turns(beginsPerTurn);
  /** Of the busy places, those whose attempt has not begun. */
  #claimed = 0;
  /** Places taken, by attempts and by what is being claimed. */
  #busy = 0;
  /** Of bodies in work. */
  #bytes = 0;
  /** A job was refused for its size; until one ends, no other is begun, so that large ones have their turn. */
  #isFull = false;
  #timer: NodeJS.Timeout | undefined;
  #pausedUntil = 0;
  #stopped = false;

  constructor(parts: LoopParts, rule: LaneRule, worker: Worker) {
    this.#parts = parts;
    this.#rule = rule;
    this.#worker = worker;
    this.#board = new LaneBoard({ ...rule, ...(parts.isPaused === undefined ? {} : { isPaused: parts.isPaused }) });
    for (const { lane, at } of parts.store.laneHeads()) {
      if (rule.match(lane)) this.#board.setHead(lane, at, parts.now());
    }
    this.#pump();
  }

  works(lane: string): boolean {
    return !this.#stopped && this.#rule.match(lane);
  }

  /** Something in this lane changed. */
  look(lane: string): void {
    if (!this.works(lane)) return;
    this.#refresh(lane);
    this.#pump();
  }

  /**
   * A place for a new job that could begin at once; undefined where it has to wait for its turn. Written down as begun by the commit that adds it, it
   * needs none to be claimed.
   */
  reserve(record: JobRecord): Born | undefined {
    const now = this.#parts.now();
    const bytes = this.#weightOf(record);
    if (!this.works(record.lane) || this.#pausedUntil > now || !this.#mayBegin() || this.#isTooMuch(bytes))
      return undefined;
    const begins = begun(now)(record);
    const place = begins === undefined ? undefined : this.#board.takeAhead(record.lane, now);
    if (begins === undefined || place === undefined) return undefined;
    this.#busy += 1;
    this.#claimed += 1;
    this.#bytes += bytes;
    const added = Promise.withResolvers<{ readonly body: Uint8Array | undefined } | undefined>();
    this.#own(record.lane, this.#whenAdded(added.promise, begins, place)).catch(neverRejects);
    return { record: begins, begin: (body) => added.resolve({ body }), cancel: () => added.resolve(undefined) };
  }

  async #whenAdded(
    added: Promise<{ readonly body: Uint8Array | undefined } | undefined>,
    record: JobRecord,
    place: Taken,
  ): Promise<void> {
    const found = await added;
    if (found !== undefined) return this.#attempt(record, place, found.body);
    this.#claimed -= 1;
    this.#bytes -= this.#weightOf(record);
    return this.#free(place);
  }

  #isTooMuch(bytes: number): boolean {
    return this.#bytes > 0 && this.#bytes + bytes > (this.#rule.maxBytes ?? Number.POSITIVE_INFINITY);
  }

  /** What is paused changed. */
  pausesChanged(): void {
    if (this.#stopped) return;
    this.#board.again(this.#parts.now());
    this.#pump();
  }

  /** Due times changed in many lanes. */
  lookEverywhere(): void {
    for (const { lane } of this.#parts.store.laneHeads()) if (this.#rule.match(lane)) this.#refresh(lane);
    this.#pump();
  }

  /** Reads the lane's head anew, in one tick, so that no concurrent change is overwritten by an older view. */
  #refresh(lane: string): void {
    this.#board.setHead(lane, this.#parts.store.nextDueAt(lane), this.#parts.now());
  }

  #pump(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const now = this.#parts.now();
    const places = new Map<string, Taken[]>();
    while (this.#pausedUntil <= now && this.#mayBegin()) {
      const taken = this.#board.take(now);
      if (taken === undefined) break;
      const others = places.get(taken.lane);
      if (others === undefined) places.set(taken.lane, [taken]);
      else others.push(taken);
      this.#busy += 1;
      this.#claimed += 1;
    }
    for (const [lane, taken] of places) this.#own(lane, this.#work(lane, taken)).catch(neverRejects);
    const paused = this.#pausedUntil > now ? this.#pausedUntil : undefined;
    const next = paused ?? (this.#mayBegin() ? this.#board.nextAt() : undefined);
    if (next === undefined) return;
    const sleepMs = Math.max(1, Math.min(next - now, longestSleepMs));
    this.#timer = setTimeout(() => this.#pump(), sleepMs);
  }

  #mayBegin(): boolean {
    return this.#busy < this.#rule.concurrency && this.#claimed < mostClaimed && !this.#isFull;
  }

  /** Keeps the task among those that a stop waits for; the promise never rejects. */
  #own(lane: string, task: Promise<void>): Promise<void> {
    const owned = task
      .catch((error: unknown) => {
        this.#pausedUntil = this.#parts.now() + pauseAfterFaultMs;
        this.#parts.log.error({ lane, error: text(error) }, 'the queue could not make or record an attempt');
      })
      .finally(() => {
        this.#running.delete(owned);
        this.#pump();
      });
    this.#running.add(owned);
    return owned;
  }

  /** Fills up to so many places of a lane in one commit: how many jobs it has is known only there. Ends with its attempts. */
  async #work(lane: string, places: readonly Taken[]): Promise<void> {
    const claimed = await this.#claim(lane, places);
    const attempts = claimed.map(({ record, place }) => this.#own(lane, this.#attempt(record, place)));
    if (claimed.length < places.length) this.#pump();
    await Promise.all(attempts);
  }

  async #claim(lane: string, places: readonly Taken[]): Promise<readonly { record: JobRecord; place: Taken }[]> {
    const { store, now, log } = this.#parts;
    let unused = places;
    let reserved = 0;
    // Asked in the transaction, where the jobs' sizes become known.
    const begin: Transition = (record) => {
      const bytes = this.#weightOf(record);
      this.#isFull = this.#isTooMuch(bytes);
      const after = this.#isFull ? undefined : begun(now())(record);
      if (after === undefined) return undefined;
      this.#bytes += bytes;
      reserved += bytes;
      return after;
    };
    try {
      const { records, damaged } = await store.claim(lane, places.length, begin);
      unused = places.slice(records.length);
      reserved = 0;
      this.#refresh(lane);
      if (damaged > 0) log.error({ lane, damaged }, 'damaged job records were set aside');
      return records.flatMap((record, i) => {
        const place = places[i];
        return place === undefined ? [] : [{ record, place }];
      });
    } finally {
      // Where the commit failed.
      this.#bytes -= reserved;
      this.#claimed -= unused.length;
      for (const place of unused) this.#free(place);
    }
  }

  #weightOf({ about, body }: JobRecord): number {
    return weightOf(this.#rule, about, body?.bytes ?? 0);
  }

  #free(place: Taken): void {
    this.#busy -= 1;
    this.#board.free(place, this.#parts.now());
  }

  async #attempt(record: JobRecord, place: Taken, body?: Uint8Array): Promise<void> {
    const lease: Lease = { record, abort: new AbortController(), lost: false };
    this.#leases.add(lease);
    try {
      await this.#turns.mine();
      this.#claimed -= 1;
      this.#pump();
      const ending = this.#stopped ? interrupted : await this.#run(lease, body);
      await this.#writeDown(lease, ending);
    } finally {
      this.#leases.delete(lease);
      this.#bytes -= this.#weightOf(record);
      this.#isFull = false;
      this.#free(place);
    }
  }

  async #run({ record, abort }: Lease, given: Uint8Array | undefined): Promise<Ending> {
    const body = given ?? (await this.#parts.readBody(record));
    if (body === undefined) return { kind: 'never', why: 'the body of this job was damaged on disk' };
    try {
      return await this.#worker(jobOf(record, body), abort.signal);
    } catch (error) {
      return abort.signal.aborted ? interrupted : { kind: 'threw', why: text(error) };
    }
  }

  /**
   * Until the disk takes it: a job whose end is not written down counts as running, and nobody would look at it again before the next start. The place
   * in its lane stays taken meanwhile, so that a broken disk slows the work down. At a stop the next start finds out.
   */
  async #writeDown(lease: Lease, ending: Ending): Promise<void> {
    while (!lease.lost) {
      try {
        return await this.#end(lease, ending);
      } catch (error) {
        const { record } = lease;
        this.#parts.log.error(
          { job: record.id, ending: ending.kind, error: text(error) },
          'the end of an attempt could not be written down; trying again',
        );
        if (this.#stopped) return;
        await delay(pauseAfterFaultMs, lease.abort.signal);
      }
    }
  }

  async #end({ record }: Lease, ending: Ending): Promise<void> {
    const { store, now, delays, removeBodies, log } = this.#parts;
    const change = await store.change(record.id, ended(ending, record.startedAt ?? 0, now(), delays));
    if (change === undefined) return;
    await removeBodies(change.unused);
    if (change.after.state === 'failed') {
      log.error({ job: record.id, lane: record.lane, why: change.after.attempts.at(-1)?.why }, 'a job was set aside');
    }
    this.#refresh(record.lane);
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const lease of this.#leases) lease.abort.abort();
    const patience = new AbortController();
    const all = Promise.all(this.#running).finally(() => patience.abort());
    await Promise.race([all, delay(graceMs, patience.signal)]);
    for (const lease of this.#leases) {
      lease.lost = true;
      // Where the disk does not take it, the next start finds the job running and takes it up.
      await this.#end(lease, interrupted).catch((error: unknown) => {
        this.#parts.log.error({ job: lease.record.id, error: text(error) }, 'a job could not be given back');
      });
    }
  }
}

function neverRejects(): void {
  // What fails is logged by its owner.
}

const interrupted: Ending = { kind: 'interrupted' };

/** Resolves after `ms`, or when the signal aborts. */
function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
