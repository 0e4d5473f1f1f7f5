/** Bounds on what a caller may put in; everything is checked before anything is written. */
import type { JobAbout, LaneRule, Mark, NewJob } from './queue.ts';
import { QueueFault } from './queue.ts';

/** Ids, lanes and times make one index key, and lmdb's keys end at 1,978 bytes. */
const maxIdBytes = 400;
const maxLaneBytes = 300;
/** About is read for every listed job. */
const maxAboutBytes = 16 * 1024;
const maxMarkBytes = 16 * 1024;
/** A reason is one or two lines of text, not a transcript; 50 of them are kept with each job. */
const maxWhyChars = 1000;
/** Progress is rewritten at each attempt. */
export const maxProgressBytes = 256 * 1024;

// Control characters would end up in logs and terminals; NUL also has a meaning in ordered keys.
const control = /\p{Cc}/u;

function checkName(what: string, value: string, maxBytes: number): void {
  const bytes = Buffer.byteLength(value);
  if (bytes === 0 || bytes > maxBytes || control.test(value) || !value.isWellFormed()) {
    throw new QueueFault('job-invalid', `${what} must be 1 to ${maxBytes} bytes of text without control characters`);
  }
}

export function checkLane(lane: string): void {
  checkName('a lane', lane, maxLaneBytes);
}

function checkAbout(id: string, about: JobAbout): void {
  if (Buffer.byteLength(JSON.stringify(about)) > maxAboutBytes) {
    throw new QueueFault('job-invalid', `what job ${id} is about takes more than ${maxAboutBytes} bytes`);
  }
}

/** Throws QueueFault `job-invalid` or `job-too-large`. */
export function checkNewJob(job: NewJob, maxBodyBytes: number): void {
  checkName('a job id', job.id, maxIdBytes);
  checkLane(job.lane);
  checkAbout(job.id, job.about);
  if (job.dueAt !== undefined && !Number.isFinite(job.dueAt)) {
    throw new QueueFault('job-invalid', `the due time of job ${job.id} is not a time`);
  }
  if (job.body.byteLength > maxBodyBytes) {
    const message = `the body of job ${job.id} has ${job.body.byteLength} bytes, more than the ${maxBodyBytes} this queue keeps`;
    throw new QueueFault('job-too-large', message);
  }
}

export function checkMark(mark: Mark): void {
  checkName('a mark', mark.key, maxIdBytes);
  if (mark.value.byteLength > maxMarkBytes || !Number.isFinite(mark.expiresAt)) {
    throw new QueueFault('job-invalid', `mark ${mark.key} needs a time of expiry and at most ${maxMarkBytes} bytes`);
  }
}

export function shortWhy(why: string): string {
  return why.length > maxWhyChars ? `${why.slice(0, maxWhyChars - 1)}…` : why;
}

/** Whether a job's facts satisfy a filter's. */
export function aboutMatches(about: JobAbout, wanted: Readonly<Record<string, string>> | undefined): boolean {
  return Object.entries(wanted ?? {}).every(([key, value]) => {
    const fact = Object.hasOwn(about, key) ? about[key] : undefined;
    if (fact === undefined) return false;
    return typeof fact === 'object' ? fact.includes(value) : String(fact) === value;
  });
}

/** What an attempt at a job counts for under the rule's `maxBytes`. */
export function weightOf({ bytesOf }: Pick<LaneRule, 'bytesOf'>, about: JobAbout, bodyBytes: number): number {
  return Math.max(bodyBytes, bytesOf?.(about) ?? 0);
}
