/**
 * The embedded queue: one lmdb environment and a folder of large bodies. One process owns it (adds and works); others may open it as guests to look
 * and to steer (hold, release, retry, drop), which the owner notices within `guestLookMs`.
 */
import { mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { BodyFiles, crcOf } from './body-files.ts';
import { defaultSetbackDelays, type SetbackDelays } from './course.ts';
import { keysIn, stateRange } from './embedded-index.ts';
import { listJobs } from './embedded-list.ts';
import { becomeOwner, giveUpOwnership } from './embedded-owner.ts';
import { EmbeddedStore, type NewEntry } from './embedded-store.ts';
import { type LoopParts, WorkerLoop } from './embedded-worker.ts';
import { checkMark, checkNewJob, shortWhy } from './job-limits.ts';
import { type JobRecord, jobOf } from './job-record.ts';
import type {
  Job,
  JobFilter,
  JobState,
  LaneRule,
  Mark,
  NewJob,
  Queue,
  QueueHealth,
  QueueLog,
  Worker,
  WorkerHandle,
} from './queue.ts';
import { jobStates, QueueFault, rememberDoneMs } from './queue.ts';
import { dropped, ended, held, newRecord, released, retried, type Transition } from './transitions.ts';

export interface EmbeddedOptions {
  /** The queue's own folder; made if missing. */
  readonly dir: string;
  readonly role: 'owner' | 'guest';
  readonly now: () => number;
  readonly log: QueueLog;
  readonly setbackDelays?: SetbackDelays;
  /** Below this much free space, health is not ok. */
  readonly minFreeBytes?: number;
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
const closeGraceMs = 10_000;

/** Throws QueueFault `queue-owned` when another process owns the folder, `queue-io` when it cannot be read. */
export async function openEmbeddedQueue(options: EmbeddedOptions): Promise<Queue> {
  await mkdir(options.dir, { recursive: true, mode: 0o700 });
  const bodies = new BodyFiles(join(options.dir, 'bodies'));
  await bodies.prepare();
  const store = openStore(options.dir);
  try {
    if (options.role === 'owner') await takeOver(store, bodies, options);
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

/** What the last owner was doing when it died is due again. */
async function takeOver(store: EmbeddedStore, bodies: BodyFiles, options: EmbeddedOptions): Promise<void> {
  await becomeOwner(store);
  const orphans = await bodies.sweep((name) => store.isFileUsed(name));
  const running = [...keysIn(store.index, stateRange('running'), 100_000)];
  for (const key of running) {
    const found = store.find(key[3]);
    if (found.kind !== 'record') {
      await store.setAside(key);
      continue;
    }
    const crash = { kind: 'crashed', why: 'the process ended during the attempt' } as const;
    const delays = options.setbackDelays ?? defaultSetbackDelays;
    const change = await store.change(key[3], ended(crash, found.record.startedAt ?? 0, options.now(), delays));
    if (change?.after.state === 'failed') options.log.error({ job: key[3] }, 'a job was set aside after crashes');
  }
  if (running.length + orphans > 0) {
    options.log.info({ jobs: running.length, orphans }, 'took over unfinished jobs, deleted orphaned bodies');
  }
}

/** What the database gives is its memory, which is good until it is next asked. */
function ownCopy(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes && new Uint8Array(bytes);
}

class EmbeddedQueue implements Queue {
  readonly maxBodyBytes = maxBodyBytes;
  readonly addsMarksAtomically = true;
  readonly #store: EmbeddedStore;
  readonly #bodies: BodyFiles;
  readonly #options: EmbeddedOptions;
  readonly #loops = new Set<WorkerLoop>();
  readonly #timers: NodeJS.Timeout[] = [];
  #looking: Promise<void> = Promise.resolve();
  #space: { readonly at: number; readonly health: Promise<QueueHealth> } | undefined;
  #closed = false;

  constructor(store: EmbeddedStore, bodies: BodyFiles, options: EmbeddedOptions) {
    this.#store = store;
    this.#bodies = bodies;
    this.#options = options;
    if (options.role === 'guest') return;
    this.#timers.push(setInterval(() => this.#background(() => this.#lookForTouched()), guestLookMs));
    this.#timers.push(setInterval(() => this.#background(() => this.#sweep()), sweepEveryMs));
    this.#background(() => this.#sweep());
  }

  /** One after the other, each fault reported; close() waits for them. */
  #background(task: () => Promise<void>): void {
    this.#looking = this.#looking.then(task).catch((error: unknown) => {
      this.#options.log.error({ error: String(error) }, 'the queue could not tidy up');
    });
  }

  async #lookForTouched(): Promise<void> {
    if (this.#closed) return;
    for (const lane of await this.#store.takeTouched()) this.#look(lane);
  }

  async #sweep(): Promise<void> {
    const now = this.#options.now();
    while (!this.#closed && (await this.#store.sweep(now - rememberDoneMs, now))) {
      // Batches, so that others' transactions come in between.
    }
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
    const added = await this.#store.add(entries, marks);
    await this.#bodies.remove([...files.values()].filter((name) => !this.#store.isFileUsed(name)));
    for (const lane of new Set(jobs.map((job) => job.lane))) this.#look(lane);
    return jobs.map((job, i) => ({ id: job.id, added: added[i] === true }));
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
    return Object.fromEntries(jobStates.map((state) => [state, count(state)])) as Record<JobState, number>;
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

  async drop(id: string): Promise<boolean> {
    return this.#steer(id, dropped(this.#options.now()));
  }

  async getMark(key: string): Promise<Uint8Array | undefined> {
    this.#checkOpen();
    return this.#store.getMark(key, this.#options.now());
  }

  /** Always durable here: a group commit costs the same. */
  async setMark(key: string, value: Uint8Array, expiresAt: number): Promise<void> {
    this.#checkOpen();
    const mark = { key, value, expiresAt };
    checkMark(mark);
    await this.#store.setMark(mark);
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
