/**
 * The embedded queue: one lmdb environment and a folder of large bodies. One process owns it (adds and works); others may open it as guests to look
 * and to steer (hold, release, retry, drop), which the owner notices within `guestLookMs`.
 */
import { mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { BodyFiles, crcOf } from './body-files.ts';
import { defaultSetbackDelays, type SetbackDelays } from './course.ts';
import { stateRange } from './embedded-index.ts';
import { laneFacts } from './embedded-lanes.ts';
import { listJobs } from './embedded-list.ts';
import { giveUpOwnership } from './embedded-owner.ts';
import { EmbeddedStore, type NewEntry } from './embedded-store.ts';
import { takeOver } from './embedded-takeover.ts';
import { endOverdue, followClock } from './embedded-upkeep.ts';
import { type Born, type LoopParts, WorkerLoop } from './embedded-worker.ts';
import { checkLane, checkMark, checkNewJob, shortWhy } from './job-limits.ts';
import { type JobRecord, jobOf } from './job-record.ts';
import { checkPauses, decodePause, encodePause, PauseBook } from './pauses.ts';
import type {
  Job,
  JobFilter,
  JobState,
  Keeping,
  LaneFacts,
  LaneRule,
  Mark,
  NewJob,
  Pause,
  Queue,
  QueueHealth,
  QueueLog,
  Worker,
  WorkerHandle,
} from './queue.ts';
import { defaultKeeping, QueueFault } from './queue.ts';
import { dropped, failing, held, newRecord, released, retried, type Transition } from './transitions.ts';
import { ClockWatch } from './upkeep.ts';

export interface EmbeddedOptions {
  /** The queue's own folder; made if missing. */
  readonly dir: string;
  readonly role: 'owner' | 'guest';
  readonly now: () => number;
  readonly log: QueueLog;
  readonly setbackDelays?: SetbackDelays;
  /** Below this much free space, health is not ok. */
  readonly minFreeBytes?: number;
  readonly keeping?: Partial<Keeping>;
}

/** A whole message (35 MiB) and what goes with it, and still one allocation a small machine can make. */
const maxBodyBytes = 64 * 1024 * 1024;
/** Larger bodies would bloat the database file, which never shrinks; smaller ones would cost three syncs each as files. */
const maxInlineBytes = 256 * 1024;
/** Room for some more messages while the operator reacts. */
const defaultMinFreeBytes = 256 * 1024 * 1024;
const guestLookMs = 500;
/** Asked at each MAIL; a disk with room for thousands of messages does not fill up within this. */
const spaceKnownForMs = 500;
const sweepEveryMs = 600_000;
/** Every job is looked at: with 100,000 of them some two seconds of work, in pieces. */
const agesEveryMs = 3_600_000;
const closeGraceMs = 10_000;

/** Throws QueueFault `queue-owned` when another process owns the folder, `queue-io` when it cannot be read. */
export async function openEmbeddedQueue(options: EmbeddedOptions): Promise<Queue> {
  await mkdir(options.dir, { recursive: true, mode: 0o700 });
  const bodies = new BodyFiles(join(options.dir, 'bodies'));
  await bodies.prepare();
  const store = openStore(options.dir);
  try {
    if (options.role === 'owner')
      await takeOver(store, bodies, { ...options, delays: options.setbackDelays ?? defaultSetbackDelays });
  } catch (error) {
    await store.close();
    throw error;
  }
  return new EmbeddedQueue(store, bodies, options);
}

function openStore(dir: string): EmbeddedStore {
  try {
    return new EmbeddedStore(dir);
  } catch (cause) {
    throw new QueueFault('queue-io', `the queue in ${dir} cannot be opened`, cause);
  }
}

/** What the database gives is its memory, which is good until it is next asked. */
function ownCopy(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes && new Uint8Array(bytes);
}

class EmbeddedQueue implements Queue {
  readonly maxBodyBytes = maxBodyBytes;
  readonly addsMarksAtomically = true;
  readonly isShared = false;
  readonly #store: EmbeddedStore;
  readonly #bodies: BodyFiles;
  readonly #options: EmbeddedOptions;
  readonly #keeping: Keeping;
  readonly #paused = new PauseBook();
  readonly #clock: ClockWatch;
  readonly #loops = new Set<WorkerLoop>();
  readonly #timers: NodeJS.Timeout[] = [];
  #looking: Promise<void> = Promise.resolve();
  #space: { readonly at: number; readonly health: Promise<QueueHealth> } | undefined;
  #closed = false;

  constructor(store: EmbeddedStore, bodies: BodyFiles, options: EmbeddedOptions) {
    this.#store = store;
    this.#bodies = bodies;
    this.#options = options;
    this.#keeping = { ...defaultKeeping, ...options.keeping };
    this.#clock = new ClockWatch(options.now());
    if (options.role === 'guest') return;
    this.#readPauses();
    this.#every(guestLookMs, () => this.#lookAround());
    this.#every(sweepEveryMs, () => this.#sweep());
    this.#every(agesEveryMs, () => this.#endOverdue());
    this.#background(() => this.#sweep());
    this.#background(() => this.#endOverdue());
  }

  #every(ms: number, task: () => Promise<void>): void {
    this.#timers.push(setInterval(() => this.#background(task), ms));
  }

  /** One after the other, each fault reported; close() waits for them. */
  #background(task: () => Promise<void>): void {
    this.#looking = this.#looking.then(task).catch((error: unknown) => {
      this.#options.log.error({ error: String(error) }, 'the queue could not tidy up');
    });
  }

  /** What guests did, and whether the clock was set back. */
  async #lookAround(): Promise<void> {
    if (this.#closed) return;
    this.#readPauses();
    for (const lane of await this.#store.takeTouched()) this.#look(lane);
    const now = this.#options.now();
    const backMs = this.#clock.look(now);
    if (backMs === undefined) return;
    this.#options.log.warn({ backMs }, 'the clock was set back; what waits for a time waits so much less');
    await followClock(this.#store, backMs, now, () => this.#closed);
    for (const loop of this.#loops) loop.lookEverywhere();
  }

  #readPauses(): void {
    const pauses = this.#store.pauses().map(({ lane, pause }) => decodePause(lane, pause.toString()));
    if (this.#paused.update(pauses)) for (const loop of this.#loops) loop.pausesChanged();
  }

  async #sweep(): Promise<void> {
    const now = this.#options.now();
    const { doneMs, doneCount } = this.#keeping;
    while (!this.#closed && (await this.#store.sweep(now - doneMs, doneCount, now))) {
      // Batches, so that others' transactions come in between.
    }
  }

  async #endOverdue(): Promise<void> {
    const closed = (): boolean => this.#closed;
    await endOverdue(this.#store, this.#keeping, this.#options.now(), closed, async ({ id, lane, state }, unused) => {
      const what = state === 'done' ? 'a job that was set aside was dropped' : 'a job is ended';
      this.#options.log.warn({ job: id, lane }, `${what}: it is too old`);
      await this.#bodies.remove(unused);
      this.#look(lane);
    });
  }

  #look(lane: string): void {
    for (const loop of this.#loops) loop.look(lane);
  }

  #checkOpen(): void {
    if (this.#closed) throw new QueueFault('queue-closed', 'the queue is closed');
  }

  #checkOwner(): void {
    this.#checkOpen();
    if (this.#options.role === 'guest') throw new QueueFault('queue-guest', 'only the queue’s owner may add or work');
  }

  async add(
    jobs: readonly NewJob[],
    options: { readonly marks?: readonly Mark[] } = {},
  ): Promise<{ id: string; added: boolean }[]> {
    this.#checkOwner();
    const marks = options.marks ?? [];
    for (const job of jobs) checkNewJob(job, maxBodyBytes);
    for (const mark of marks) checkMark(mark);
    const files = new Map<Uint8Array, string>();
    const entries: NewEntry[] = [];
    for (const job of jobs) entries.push(await this.#entry(job, files));
    const born = entries.map(({ record }) => this.#reserve(record));
    const added = await this.#add(entries, born, marks);
    await this.#bodies.remove([...files.values()].filter((name) => !this.#store.isFileUsed(name)));
    for (const lane of new Set(jobs.filter((_, i) => born[i] === undefined).map((job) => job.lane))) this.#look(lane);
    return jobs.map((job, i) => ({ id: job.id, added: added[i] === true }));
  }

  #reserve(record: JobRecord): Born | undefined {
    return [...this.#loops].find((loop) => loop.works(record.lane))?.reserve(record);
  }

  async #add(
    entries: readonly NewEntry[],
    born: readonly (Born | undefined)[],
    marks: readonly Mark[],
  ): Promise<readonly boolean[]> {
    let added: readonly boolean[] = [];
    try {
      const asBorn = entries.map((entry, i): NewEntry => ({ ...entry, record: born[i]?.record ?? entry.record }));
      added = await this.#store.add(asBorn, marks);
      return added;
    } finally {
      for (const [i, entry] of entries.entries()) {
        if (added[i] === true) born[i]?.begin(ownCopy(entry.body));
        else born[i]?.cancel();
      }
    }
  }

  /** Jobs that share one body (the same array) share one file. */
  async #entry(job: NewJob, files: Map<Uint8Array, string>): Promise<NewEntry> {
    const { body } = job;
    const facts = { bytes: body.byteLength, crc: await crcOf(body) };
    if (body.byteLength <= maxInlineBytes) return { record: newRecord(job, facts, this.#options.now()), body };
    const file = files.get(body) ?? (await this.#bodies.write(body));
    files.set(body, file);
    return { record: newRecord(job, { ...facts, file }, this.#options.now()) };
  }

  work(rule: LaneRule, worker: Worker): WorkerHandle {
    this.#checkOwner();
    const parts: LoopParts = {
      store: this.#store,
      readBody: (record) => this.#readBody(record),
      removeBodies: (names) => this.#bodies.remove(names),
      now: this.#options.now,
      delays: this.#options.setbackDelays ?? defaultSetbackDelays,
      log: this.#options.log,
      isPaused: (lane) => this.#paused.isPaused(lane),
    };
    const loop = new WorkerLoop(parts, rule, worker);
    this.#loops.add(loop);
    return {
      stop: async (graceMs) => {
        this.#loops.delete(loop);
        await loop.stop(graceMs);
      },
    };
  }

  async #readBody({ id, body }: JobRecord): Promise<Uint8Array | undefined> {
    if (body === undefined) return undefined;
    const bytes =
      body.file === undefined
        ? ownCopy(this.#store.inlineBody(id))
        : await this.#bodies.read(body.file).catch((error: NodeJS.ErrnoException) => {
            if (error.code === 'ENOENT') return undefined;
            throw new QueueFault('queue-io', `the body of job ${id} cannot be read`, error);
          });
    const whole = bytes !== undefined && bytes.byteLength === body.bytes && (await crcOf(bytes)) === body.crc;
    return whole ? bytes : undefined;
  }

  async list(filter: JobFilter): Promise<Job[]> {
    this.#checkOpen();
    return listJobs(this.#store, filter, () => this.#closed);
  }

  async get(id: string): Promise<Job | undefined> {
    this.#checkOpen();
    const found = this.#store.find(id);
    if (found.kind === 'none') return undefined;
    if (found.kind === 'damaged') throw new QueueFault('queue-io', `the record of job ${id} is damaged on disk`);
    const body = found.record.body === undefined ? undefined : await this.#readBody(found.record);
    return jobOf(found.record, body ?? new Uint8Array());
  }

  async counts(): Promise<Record<JobState, number>> {
    this.#checkOpen();
    this.#store.refresh();
    const count = (state: JobState) => this.#store.index.getKeysCount(stateRange(state));
    const waiting = { due: count('due'), running: count('running'), held: count('held'), failed: count('failed') };
    const { due, running, held: isHeld, failed } = waiting;
    // The many are not counted one by one.
    return { ...waiting, done: Math.max(0, this.#store.entries() - due - running - isHeld - failed) };
  }

  async #steer(id: string, transition: Transition): Promise<boolean> {
    this.#checkOpen();
    const change = await this.#store.change(id, transition);
    if (change === undefined) return false;
    await this.#bodies.remove(change.unused);
    if (this.#options.role === 'guest') await this.#store.touch(change.after.lane);
    else this.#look(change.after.lane);
    return true;
  }

  async hold(id: string, reason: string): Promise<boolean> {
    return this.#steer(id, held(shortWhy(reason)));
  }

  async release(id: string): Promise<boolean> {
    return this.#steer(id, released);
  }

  async retry(id: string): Promise<boolean> {
    return this.#steer(id, retried(this.#options.now()));
  }

  async fail(id: string, reason: string): Promise<boolean> {
    return this.#steer(id, failing(shortWhy(reason), this.#options.now()));
  }

  async drop(id: string): Promise<boolean> {
    return this.#steer(id, dropped(this.#options.now()));
  }

  async pause(lane: string, reason: string): Promise<void> {
    checkLane(lane);
    checkPauses(await this.pauses(), lane);
    await this.#store.setPause(lane, Buffer.from(encodePause(reason, this.#options.now())));
    if (this.#options.role === 'owner') this.#readPauses();
  }

  async resume(lane: string): Promise<boolean> {
    this.#checkOpen();
    const wasPaused = await this.#store.setPause(lane, undefined);
    if (this.#options.role === 'owner') this.#readPauses();
    return wasPaused;
  }

  async pauses(): Promise<Pause[]> {
    this.#checkOpen();
    return this.#store.pauses().map(({ lane, pause }) => decodePause(lane, pause.toString()));
  }

  async lanes(limit: number): Promise<LaneFacts[]> {
    this.#checkOpen();
    return laneFacts(this.#store, this.#options.now(), limit);
  }

  async getMark(key: string): Promise<Uint8Array | undefined> {
    this.#checkOpen();
    return this.#store.getMark(key, this.#options.now());
  }

  async setMark(
    key: string,
    value: Uint8Array,
    expiresAt: number,
    { durable = true }: { readonly durable?: boolean } = {},
  ): Promise<void> {
    this.#checkOpen();
    const mark = { key, value, expiresAt };
    checkMark(mark);
    if (durable) await this.#store.setMark(mark);
    else this.#store.setMarkLater(mark);
  }

  async health(): Promise<QueueHealth> {
    if (this.#closed) return { ok: false, why: 'the queue is closed' };
    if (this.#store.failure !== undefined) return { ok: false, why: this.#store.failure };
    const age = performance.now() - (this.#space?.at ?? Number.NEGATIVE_INFINITY);
    if (this.#space === undefined || age > spaceKnownForMs)
      this.#space = { at: performance.now(), health: this.#measureSpace() };
    return this.#space.health;
  }

  async #measureSpace(): Promise<QueueHealth> {
    try {
      const { bavail, bsize } = await statfs(this.#options.dir);
      const least = this.#options.minFreeBytes ?? defaultMinFreeBytes;
      const free = bavail * bsize;
      if (free >= least) return { ok: true };
      return { ok: false, why: `only ${free} bytes are free where the queue lies; it wants ${least}` };
    } catch (error) {
      return { ok: false, why: `the queue's disk does not answer: ${String(error)}` };
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all([...this.#loops].map((loop) => loop.stop(closeGraceMs)));
    this.#closed = true;
    await this.#looking;
    try {
      if (this.#options.role === 'owner') await giveUpOwnership(this.#store);
    } finally {
      await this.#store.close();
    }
  }
}
