/**
 * The queue's contract: keeps jobs until someone says done. It knows nothing of mail, SMTP or peers; a body is bytes, a lane is a name.
 *
 * Promises, for every implementation (one suite, test/queue/contract.ts, holds all of them to it):
 * - At least once. A job that `add` acknowledged is worked until an attempt says done or never, through `kill -9` and power cuts of the process.
 *   An attempt may therefore run again although it had finished: workers keep their own memory of what must not happen twice.
 * - The same id is the same job, for as long as it is remembered (until done, and then as `Keeping` says).
 * - Jobs of one lane are offered oldest due time first, but no order is promised; lanes take turns, so that a deep lane cannot starve a shallow one.
 * - A clock that is set back loses nothing and repeats nothing; what was due stays due in the process that saw it happen.
 * - Nothing is lost silently: a job that crashes its worker again and again, or whose record is damaged, is set aside as `failed`, visible and kept.
 */

export type JobState =
  /** Waits for its due time or for a free worker. */
  | 'due'
  /** An attempt is being made. */
  | 'running'
  /** Waits for someone to release it. */
  | 'held'
  /** Set aside: poisoned, damaged, or ended by `never`. Kept with its body until retried or dropped. */
  | 'failed'
  /** Finished or dropped. Kept without body for a while. */
  | 'done';

export const jobStates: readonly JobState[] = ['due', 'running', 'held', 'failed', 'done'];

/** Small facts to show and to filter by (sender, recipients, trace id). At most 16 KiB encoded; never content. */
export interface JobAbout {
  readonly [key: string]: string | number | boolean | readonly string[];
}

export interface NewJob {
  /** 1 to 400 bytes without control characters. The caller makes it deterministic if adding twice must be harmless. */
  readonly id: string;
  /** 1 to 300 bytes without control characters, for instance `out:example.net`. */
  readonly lane: string;
  readonly body: Uint8Array;
  /** Milliseconds since the epoch; now if absent. */
  readonly dueAt?: number;
  /** Starts held, for this reason. */
  readonly hold?: { readonly reason: string };
  readonly about: JobAbout;
}

export interface AttemptRecord {
  readonly at: number;
  readonly tookMs: number;
  readonly outcome: 'done' | 'later' | 'never' | 'crashed';
  readonly why: string;
}

export interface Job {
  readonly id: string;
  readonly lane: string;
  readonly state: JobState;
  /** Empty in `list`, and when the job is done. */
  readonly body: Uint8Array;
  readonly about: JobAbout;
  readonly createdAt: number;
  readonly dueAt: number;
  /** The last 50; `attemptCount` counts all. */
  readonly attempts: readonly AttemptRecord[];
  readonly attemptCount: number;
  /** What the last `later` handed over, at most 256 KiB. */
  readonly progress?: Uint8Array;
  readonly firstFailureAt?: number;
  readonly holdReason?: string;
  /** It is to be ended, for this reason: the worker tells whoever is to be told, and answers done. */
  readonly failing?: string;
  /** Why nothing was tried the last time it was due; forgotten at the next attempt. */
  readonly putOff?: string;
}

export type Attempt =
  | { readonly kind: 'done'; readonly why: string }
  /** Try again at `at`. `progress`, if given, replaces what the job carries; if absent, that stays. */
  | { readonly kind: 'later'; readonly at: number; readonly why: string; readonly progress?: Uint8Array }
  /** Nothing was tried: due again at `at`; counts as no attempt and is not recorded as one. */
  | { readonly kind: 'put-off'; readonly at: number; readonly why: string }
  /** Set aside as `failed`. */
  | { readonly kind: 'never'; readonly why: string };

/**
 * Makes one attempt. A throw is `later` with a growing delay; five throws or eight crashes in a row set the job aside as `failed`.
 * When `signal` aborts, the queue is being stopped: end soon, and throw if nothing was decided; that throw is not counted.
 */
export type Worker = (job: Job, signal: AbortSignal) => Promise<Attempt>;

export interface LaneRule {
  /** Pure and constant: it is asked once for each lane. */
  readonly match: (lane: string) => boolean;
  /** Attempts at once in all lanes together. */
  readonly concurrency: number;
  /** Attempts at once in one lane. */
  readonly perLane: number;
  /** Bodies in work at once, in bytes; one job runs however large it is. Unbounded if absent. */
  readonly maxBytes?: number;
  /** Pure: what an attempt holds in memory, in bytes, where that is more than the job's body, since it fetches something. Counts instead of the body. */
  readonly bytesOf?: (about: JobAbout) => number;
  /** Further bounds that change with what is learned; none if absent. */
  readonly pace?: LanePace;
}

/** Lanes whose attempts burden the same thing are a group and share its places. Asked before each attempt; no I/O, never throws. */
export interface LanePace {
  /** May change at any time; attempts being made count for the group they began in. */
  group(lane: string): string;
  /** Attempts at once in the group. At least 1: a group that must rest says so by `notBefore`. */
  places(group: string): number;
  /** When the next attempt in the group may begin. */
  notBefore(group: string, now: number): number;
}

/** What is not worked until it is resumed. Durable. */
export interface Pause {
  /** A lane, or `*` for all of them. */
  readonly lane: string;
  readonly reason: string;
  readonly at: number;
}

export const everyLane = '*';

/** One lane that is not empty (finished jobs do not count). */
export interface LaneFacts {
  readonly lane: string;
  readonly due: number;
  /** Of these, how many could be tried now. */
  readonly ready: number;
  readonly running: number;
  readonly held: number;
  readonly failed: number;
  /** When the next one is due. */
  readonly nextAt?: number;
  /** The newest attempt among some of its waiting jobs. */
  readonly last?: AttemptRecord;
}

export interface WorkerHandle {
  /**
   * Starts no further attempt, aborts the signals, waits up to `graceMs` for running attempts and gives the others' jobs back:
   * they are due at once, uncounted, and whatever their workers still answer is ignored.
   */
  stop(graceMs: number): Promise<void>;
}

export interface JobFilter {
  readonly state?: JobState;
  readonly lane?: string;
  /** Every given fact must be equal (numbers and booleans as written), or be among the fact's list. */
  readonly about?: Readonly<Record<string, string>>;
  readonly limit: number;
}

/** A small fact to remember until `expiresAt`, for instance that a request was already answered. Key up to 400 bytes, value up to 16 KiB. */
export interface Mark {
  readonly key: string;
  readonly value: Uint8Array;
  readonly expiresAt: number;
}

export type QueueHealth = { readonly ok: true } | { readonly ok: false; readonly why: string };

export interface Queue {
  /** The largest body a job may have. */
  readonly maxBodyBytes: number;
  /** Whether a crash can leave a job that `add` made without the marks that came with it (Redis) or cannot (embedded). */
  readonly addsMarksAtomically: boolean;
  /** Whether other processes work it too, on other machines: what they must know of attempts lies in marks. */
  readonly isShared: boolean;
  /**
   * Resolves when all jobs are durable (fsync, or Redis' appendfsync always); `added: false` for an id that was already known.
   * Rejects with a QueueFault if it could not find out: then some may have been added, and adding the same ids again is right.
   * The jobs are one atomic commit, and so are the marks with them where `addsMarksAtomically`; elsewhere the marks follow.
   */
  add(
    jobs: readonly NewJob[],
    options?: { readonly marks?: readonly Mark[] },
  ): Promise<{ id: string; added: boolean }[]>;
  work(rule: LaneRule, worker: Worker): WorkerHandle;
  /** Without bodies. */
  list(filter: JobFilter): Promise<Job[]>;
  get(id: string): Promise<Job | undefined>;
  counts(): Promise<Record<JobState, number>>;
  /** due or running becomes held; a running attempt ends first, and if it ends in done or never, that stands. False for any other state. */
  hold(id: string, reason: string): Promise<boolean>;
  /** held becomes due, at its due time. */
  release(id: string): Promise<boolean>;
  /** due, held or failed becomes due now, with its count of crashes forgotten. */
  retry(id: string): Promise<boolean>;
  /** due, held or failed becomes due now with `failing`, so that its worker ends it and tells of it. A worker that is paused does so when resumed. */
  fail(id: string, reason: string): Promise<boolean>;
  /** due, held or failed becomes done, its body deleted; the id stays remembered. A running job cannot be dropped: false. */
  drop(id: string): Promise<boolean>;
  /** No further attempt begins in this lane, or in any (`everyLane`); within a second also in other processes. Paused again, the reason is replaced. */
  pause(lane: string, reason: string): Promise<void>;
  /** False if it was not paused. */
  resume(lane: string): Promise<boolean>;
  pauses(): Promise<Pause[]>;
  /** Lanes by name, at most `limit`. */
  lanes(limit: number): Promise<LaneFacts[]>;
  getMark(key: string): Promise<Uint8Array | undefined>;
  /** With `durable: false` the mark may be lost by a power cut or a kill in the next moment, never half written. */
  setMark(key: string, value: Uint8Array, expiresAt: number, options?: { readonly durable?: boolean }): Promise<void>;
  /** Whether new jobs can be kept. Not ok means: stop accepting. */
  health(): Promise<QueueHealth>;
  /** Stops all workers (10 s grace) and lets go of disk or connection. */
  close(): Promise<void>;
}

export type QueueFaultCode =
  | 'queue-closed'
  | 'queue-owned'
  | 'queue-guest'
  | 'queue-io'
  | 'queue-full'
  | 'job-invalid'
  | 'job-too-large';

/** Something is wrong with the queue or its use; `code` is stable. */
export class QueueFault extends Error {
  readonly code: QueueFaultCode;
  constructor(code: QueueFaultCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'QueueFault';
    this.code = code;
  }
}

/** Where the queue reports what no caller asked for: a damaged record, a poisoned job, a lost connection. pino fits. */
export interface QueueLog {
  info(facts: Readonly<Record<string, unknown>>, message: string): void;
  warn(facts: Readonly<Record<string, unknown>>, message: string): void;
  error(facts: Readonly<Record<string, unknown>>, message: string): void;
}

/** Finished jobs are remembered 7 days: longer than any sender repeats a request and than mail is retried (5 days). */
export const rememberDoneMs = 7 * 24 * 3_600_000;

/** How long jobs are kept; what is absent is as in `defaultKeeping`. */
export interface Keeping {
  /** Finished jobs, with all their attempts. */
  readonly doneMs: number;
  /** No more finished jobs than these; the oldest go first. */
  readonly doneCount: number;
  /** A held or due job older than this is ended as `fail` would; one that was set aside is dropped, and the log says so. */
  readonly maxAgeMs: number;
}

/** A million finished jobs are some 700 MB on disk. Nothing waits for a month: whoever holds mail decides within it. */
export const defaultKeeping: Keeping = { doneMs: rememberDoneMs, doneCount: 1_000_000, maxAgeMs: 30 * 24 * 3_600_000 };
