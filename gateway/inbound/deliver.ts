import { createHmac } from 'node:crypto';
import type { Address } from '../../policy/address.ts';
import type { Attempt, Job, Queue, WorkerHandle } from '../../queue/queue.ts';
import type { Reporter } from '../relay/bounced-address.ts';
import type { NoticeFacts } from '../relay/notice.ts';
import { type ReturnedPart, returnedPart } from '../returned-part.ts';
import type { ReportedRecipient } from '../returns/report.ts';
import type { StorageGate } from '../storage/gate.ts';
import { noticeOfReport, traceOfOriginal } from './bounce-notice.ts';
import {
  decodeInboundJob,
  decodeProgress,
  encodeProgress,
  type InboundJob,
  inboundLane,
  largeInboundLane,
  type Outcome,
  type Progress,
  type StoredMessage,
} from './job.ts';
import type { Log, Trace } from './parts.ts';
import { type SentBack, sendBack } from './send-back.ts';
import { type Action, isWanted, type Wishes } from './wishes.ts';

/** What became of handing a message to one recipient; GatewayPost's answer fits. */
export type Handed =
  | { readonly kind: 'sent'; readonly id: Uint8Array; readonly copies: number }
  | { readonly kind: 'no-such-user' }
  | { readonly kind: 'later'; readonly reason: string }
  /** Trying again would change nothing. */
  | { readonly kind: 'never'; readonly reason: string };

/** What is to be told to the sender of a message that was accepted: that it failed later on, or what he asked to hear of (RFC 3461). */
export interface FailedRecipient extends ReturnedPart {
  readonly action: Action;
  readonly sender: string;
  readonly recipient: Address;
  readonly status: string;
  readonly text: string;
  readonly dsn: Wishes | undefined;
  readonly receivedAt: number;
  readonly trace: string;
}

export interface DeliveryParts {
  readonly queue: Queue;
  /** Attempts begin only while the disk is well. */
  readonly storage: Pick<StorageGate, 'whenOpen'>;
  /** Safe to repeat with the same message and salt. Throws while the ring cannot take it; `isFinal` says of what it threw that it never will. */
  readonly store: (message: Uint8Array, salt: Uint8Array) => Promise<StoredMessage>;
  /** Safe to repeat with the same id and recipient. */
  readonly deliver: (what: {
    readonly id: string;
    readonly message: StoredMessage;
    readonly recipient: Address;
    readonly envelopeFrom: string;
    readonly folder: 'inbox' | 'junk';
    readonly trace: string;
    readonly provenance: Uint8Array;
    readonly requireTls?: true;
  }) => Promise<Handed>;
  /** Puts a notice into a user's inbox. Safe to repeat with the same facts. */
  readonly sendNotice: (facts: NoticeFacts, to: Address) => Promise<Handed>;
  /** Counts what a bounce says of a recipient; resolves with his address where he is not tried any more. `trace`: of the message that failed. */
  readonly learnOfBounce: (
    recipient: ReportedRecipient,
    reporter: Reporter,
    trace: string,
  ) => Promise<string | undefined>;
  /** Of an address under which something was forwarded: whose it stands for (returns/srs.ts). */
  readonly senderOf: (address: Address) => string | undefined;
  /** Durable when it resolves. Safe to repeat. */
  readonly sendBack: (report: SentBack) => Promise<void>;
  readonly hostname: string;
  readonly isFinal: (fault: unknown) => boolean;
  readonly fetch: (message: StoredMessage) => Promise<Uint8Array>;
  /** Tells the sender; called for proven senders only. Safe to repeat. */
  readonly notifySender: (failed: FailedRecipient) => Promise<'told' | 'not-told'>;
  /** From which the salt of each message is derived. */
  readonly secret: Uint8Array;
  /** Called when a receipt for this notification can come; resolves when that cannot be forgotten any more. The sender is named where he may be told. */
  readonly awaitReceipt: (
    id: Uint8Array,
    awaited: {
      readonly trace: string;
      readonly recipient: Address;
      readonly sender: string;
      readonly receivedAt: number;
      readonly message: StoredMessage;
      readonly dsn?: Wishes | undefined;
    },
  ) => Promise<void>;
  readonly trace: Trace;
  readonly log: Log;
  readonly now: () => number;
}

// Each attempt waits for some five commits of the ring, one after the other, and attempts share them: the more there are, the fewer commits there are
// for each. The door carries 64 questions at once; some are left for who is at RCPT. 12 MB at most.
const deliveriesAtOnce = 48;
// Some 100 MiB each while they are cut into blocks.
const largeAtOnce = 4;
// The ring is ours: it is back soon after a restart, and asking costs little. Five minutes when it is not.
const firstDelayMs = 1_000;
const maxDelayMs = 300_000;
// RFC 5321 §4.5.4.1: what could not be delivered for four to five days goes back. Counted from the first failure, so that a job that was held, or that
// the postmaster retries, has its time.
const giveUpMs = 5 * 24 * 3_600_000;
// RFC 3461 leaves the time to us; four hours is what senders' own hosts have.
const delayNoticeMs = 4 * 3_600_000;

/** When to try again after `attempts` attempts: 1 s, 2 s, 4 s … 5 min. */
export function deliveryDelay(attempts: number): number {
  return Math.min(firstDelayMs * 2 ** Math.min(attempts, 20), maxDelayMs);
}

/** Hands accepted messages to the ring: the workers of the two lanes. */
export function startDelivery(parts: DeliveryParts): WorkerHandle {
  const workers = [workOn(parts, inboundLane, deliveriesAtOnce), workOn(parts, largeInboundLane, largeAtOnce)];
  return {
    stop: async (graceMs) => {
      await Promise.all(workers.map((worker) => worker.stop(graceMs)));
    },
  };
}

function workOn(parts: DeliveryParts, lane: string, atOnce: number): WorkerHandle {
  const rule = { match: (name: string): boolean => name === lane, concurrency: atOnce, perLane: atOnce };
  return parts.queue.work(
    rule,
    parts.storage.whenOpen((job, signal) => deliverJob(parts, job, signal)),
  );
}

/**
 * One attempt: into the store, then a notification for each recipient. Every step is the same when it is made again
 * (the salt and all ids come from the job), so a crash anywhere gives no second copy.
 */
export async function deliverJob(parts: DeliveryParts, job: Job, signal: AbortSignal): Promise<Attempt> {
  const read = readJob(job);
  if (read === undefined) return { kind: 'never', why: 'the job holds no message in a form that this version knows' };
  const { inbound, before } = read;
  if (job.failing !== undefined) return await failJob(parts, inbound, before, job.failing);
  const storing = before.stored === undefined ? await storeMessage(parts, inbound) : inRing(before.stored);
  if (storing.at === 'nowhere') return await notStored(parts, job, inbound, before, storing);
  const { stored } = storing;
  const outcomes: Record<string, Outcome> = { ...before.outcomes };
  const waiting: Waiting[] = [];
  for (const recipient of inbound.recipients) {
    if (outcomes[recipient] !== undefined) continue;
    if (signal.aborted) waiting.push({ recipient, reason: 'the gateway is stopping' });
    if (signal.aborted) break;
    const outcome = await deliverTo(parts, inbound, stored, recipient);
    if ('reason' in outcome) waiting.push(outcome);
    else outcomes[recipient] = outcome;
  }
  const [first] = waiting;
  if (first !== undefined && !signal.aborted && isOverdue(parts, job)) {
    for (const { recipient, reason } of waiting)
      outcomes[recipient] = await giveUp(parts, inbound, recipient, `not in time: ${reason}`, '5.4.7');
    return ended(outcomes);
  }
  if (first !== undefined) {
    const late = waiting.map(({ recipient }) => recipient);
    const delayTold = await tellOfDelay(parts, job, inbound, before, signal.aborted ? [] : late);
    return later(parts, job, { stored, outcomes, delayTold }, `${first.recipient}: ${first.reason}`);
  }
  return ended(outcomes);
}

/** Somebody who may says that it is to end. */
async function failJob(parts: DeliveryParts, inbound: InboundJob, before: Progress, reason: string): Promise<Attempt> {
  const outcomes: Record<string, Outcome> = { ...before.outcomes };
  for (const recipient of inbound.recipients)
    outcomes[recipient] ??= await giveUp(parts, inbound, recipient, reason, '5.3.0');
  return { kind: 'done', why: `given up: ${reason}; ${summary(outcomes)}` };
}

/** A recipient whose turn comes again, and why. */
interface Waiting {
  readonly recipient: Address;
  readonly reason: string;
}

/** Given up for somebody: set aside, where the postmaster sees it and can retry it. */
function ended(outcomes: Readonly<Record<string, Outcome>>): Attempt {
  const given = Object.entries(outcomes).filter(([, outcome]) => outcome.kind === 'given-up');
  if (given.length === 0) return { kind: 'done', why: summary(outcomes) };
  return {
    kind: 'never',
    why: `given up for ${given.map(([recipient]) => recipient).join(', ')}; ${summary(outcomes)}`,
  };
}

function isOverdue({ now }: DeliveryParts, { firstFailureAt }: Job): boolean {
  return firstFailureAt !== undefined && now() - firstFailureAt >= giveUpMs;
}

async function notStored(
  parts: DeliveryParts,
  job: Job,
  inbound: InboundJob,
  before: Progress,
  { failure, isFinal, isFull }: Storing & { at: 'nowhere' },
): Promise<Attempt> {
  if (!isFinal && !isOverdue(parts, job)) {
    const late = inbound.recipients.filter((recipient) => before.outcomes[recipient] === undefined);
    const delayTold = await tellOfDelay(parts, job, inbound, before, late);
    return later(parts, job, { ...before, delayTold }, failure);
  }
  const outcomes: Record<string, Outcome> = { ...before.outcomes };
  // RFC 3463: mailbox full, as against delivery time expired.
  const status = isFinal ? '5.3.0' : isFull ? '5.2.2' : '5.4.7';
  for (const recipient of inbound.recipients)
    outcomes[recipient] ??= await giveUp(parts, inbound, recipient, failure, status);
  return ended(outcomes);
}

/** Tells, once, those who asked for it that it takes longer (RFC 3461 §4.1, DELAY). Whether that is done. */
async function tellOfDelay(
  parts: DeliveryParts,
  { firstFailureAt }: Job,
  inbound: InboundJob,
  { delayTold = false }: Progress,
  late: readonly Address[],
): Promise<boolean> {
  if (delayTold || firstFailureAt === undefined || parts.now() - firstFailureAt < delayNoticeMs) return delayTold;
  const text = 'It is here, and could not be put into the mailbox yet. It is tried for five days.';
  for (const recipient of late) {
    // RFC 3463: 4.4.7 delivery time expired, as a temporary state: delayed.
    await tellSender(parts, inbound, recipient, { action: 'delayed', status: '4.4.7', text });
  }
  return late.length > 0;
}

function readJob(job: Job): { readonly inbound: InboundJob; readonly before: Progress } | undefined {
  try {
    const before = decodeProgress(job.progress);
    // Set aside and now retried by the postmaster: he means those who were given up.
    const isRetried = job.attempts.at(-1)?.outcome === 'never';
    const kept = Object.entries(before.outcomes).filter(([, { kind }]) => !isRetried || kind !== 'given-up');
    return { inbound: decodeInboundJob(job.body), before: { ...before, outcomes: Object.fromEntries(kept) } };
  } catch {
    return undefined;
  }
}

type Storing =
  | { readonly at: 'ring'; readonly stored: StoredMessage }
  | { readonly at: 'nowhere'; readonly failure: string; readonly isFinal: boolean; readonly isFull: boolean };

const inRing = (stored: StoredMessage): Storing => ({ at: 'ring', stored });

async function storeMessage(parts: DeliveryParts, { message, trace }: InboundJob): Promise<Storing> {
  if (!(message instanceof Uint8Array)) return inRing(message);
  try {
    const stored = await parts.store(message, saltFor(parts.secret, trace));
    parts.trace(trace, { what: 'stored', bytes: message.length });
    return inRing(stored);
  } catch (error) {
    const failure = `the ring did not take the message: ${messageOf(error)}`;
    const isFull = error instanceof Error && 'code' in error && error.code === 'quota';
    return { at: 'nowhere', failure, isFinal: parts.isFinal(error), isFull };
  }
}

/** The outcome for one recipient, or why it has to wait. */
async function deliverTo(
  parts: DeliveryParts,
  job: InboundJob,
  message: StoredMessage,
  recipient: Address,
): Promise<Outcome | Waiting> {
  const { envelopeFrom, folder, trace, provenance } = job;
  try {
    const forwardedFor = parts.senderOf(recipient);
    if (forwardedFor !== undefined) return await sendBack(parts, job, message, forwardedFor);
    const told = job.returned.includes(recipient) ? await tellOfBounce(parts, job, message, recipient) : undefined;
    if (told !== undefined) return told;
    const handed = await parts.deliver({
      id: `in:${trace}`,
      message,
      recipient,
      envelopeFrom,
      folder,
      trace,
      provenance,
      ...(job.dsn?.requireTls === true ? { requireTls: true } : {}),
    });
    switch (handed.kind) {
      case 'sent':
        parts.trace(trace, { what: 'notified', recipient, copies: handed.copies, folder });
        await parts.awaitReceipt(handed.id, {
          trace,
          recipient,
          sender: senderToTell(job),
          receivedAt: job.receivedAt,
          message,
          dsn: job.dsn,
        });
        return { kind: 'notified' };
      case 'later':
        return { recipient, reason: handed.reason };
      case 'never':
        return await giveUp(parts, job, recipient, handed.reason, '5.3.0');
      default:
        return await gone(parts, job, recipient);
    }
  } catch (error) {
    return { recipient, reason: messageOf(error) };
  }
}

/** Undefined where the message is to be delivered as it is. Throws where it cannot be had now. */
async function tellOfBounce(
  parts: DeliveryParts,
  job: InboundJob,
  message: StoredMessage,
  recipient: Address,
): Promise<Outcome | Waiting | undefined> {
  const { trace, receivedAt } = job;
  const bytes = job.message instanceof Uint8Array ? job.message : await parts.fetch(message);
  const notice = noticeOfReport({ bytes, recipient, receivedAt, trace }, parts.hostname);
  if (notice === undefined) return undefined;
  const handed = await parts.sendNotice(notice.facts, recipient);
  if (handed.kind === 'later') return { recipient, reason: handed.reason };
  // Too large for a notice: as it is, it may still fit.
  if (handed.kind === 'never') return undefined;
  if (handed.kind === 'no-such-user') return await gone(parts, job, recipient);
  const original = traceOfOriginal(notice.report.original, parts.hostname);
  for (const reported of notice.report.recipients) {
    const { address, action, status, cause } = reported;
    parts.trace(trace, { what: 'bounce', to: recipient, recipient: address, action, status, cause, of: original });
    if (original !== undefined)
      parts.trace(original, { what: 'bounced', recipient: address, action, status, cause, by: trace });
    await learn(parts, job, reported, original ?? trace);
  }
  return { kind: 'notified' };
}

/** Without its memory an address is tried once more often. */
async function learn(parts: DeliveryParts, job: InboundJob, reported: ReportedRecipient, of: string): Promise<void> {
  if (job.reporter === undefined) return;
  try {
    const suppressed = await parts.learnOfBounce(reported, job.reporter, of);
    if (suppressed !== undefined) parts.trace(job.trace, { what: 'suppression', recipient: suppressed });
  } catch (error) {
    const facts = { trace: job.trace, recipient: reported.address, error: messageOf(error) };
    parts.log.warn(facts, 'what a bounce says of an address could not be kept');
  }
}

/** The user was there at RCPT and is not now. */
async function gone(parts: DeliveryParts, job: InboundJob, recipient: Address): Promise<Outcome> {
  const notice = await tellSender(parts, job, recipient, {
    action: 'failed',
    status: '5.1.1',
    text: 'This user is no longer here.',
  });
  parts.trace(job.trace, { what: 'undeliverable', recipient, reason: 'no such user', notice });
  return { kind: 'no-such-user', notice };
}

// RFC 3463: 5.3.0 other mail system status, 5.4.7 delivery time expired.
async function giveUp(
  parts: DeliveryParts,
  job: InboundJob,
  recipient: Address,
  reason: string,
  status: '5.2.2' | '5.3.0' | '5.4.7',
): Promise<Outcome> {
  const text = 'It was accepted, and then could not be put into the mailbox. The postmaster can see why.';
  const notice = await tellSender(parts, job, recipient, { action: 'failed', status, text });
  parts.trace(job.trace, { what: 'undeliverable', recipient, reason, notice });
  parts.log.error({ trace: job.trace, recipient, reason, notice }, 'an accepted message could not be delivered');
  return { kind: 'given-up', notice };
}

// The sender is told only if it is proven that he is the sender: a notice to a forged address would be spam of our own.
const senderToTell = (job: InboundJob): string => (job.senderProven ? job.envelopeFrom : '');

async function tellSender(
  parts: DeliveryParts,
  job: InboundJob,
  recipient: Address,
  said: Pick<FailedRecipient, 'action' | 'status' | 'text'>,
): Promise<'told' | 'not-told' | 'not-proven' | 'not-wanted'> {
  const sender = senderToTell(job);
  if (sender === '') return 'not-proven';
  if (!isWanted(job.dsn?.recipients[recipient], said.action)) return 'not-wanted';
  const bytes = await originalOf(parts, job);
  return await parts.notifySender({
    ...said,
    sender,
    recipient,
    ...returnedPart(bytes, job.dsn?.ret, said.action === 'failed'),
    dsn: job.dsn,
    receivedAt: job.receivedAt,
    trace: job.trace,
  });
}

/** A message that lies in the ring and cannot be had is no reason not to tell of it. */
async function originalOf(parts: DeliveryParts, { message }: InboundJob): Promise<Uint8Array> {
  return message instanceof Uint8Array ? message : await parts.fetch(message).catch(() => new Uint8Array());
}

function later(parts: DeliveryParts, job: Job, progress: Progress, why: string): Attempt {
  const at = parts.now() + deliveryDelay(job.attemptCount);
  return { kind: 'later', at, why, progress: encodeProgress(progress) };
}

/** The same for the same job and gateway, and for nobody else: guessing a message does not find its blocks. */
export function saltFor(secret: Uint8Array, trace: string): Uint8Array {
  return new Uint8Array(createHmac('sha256', secret).update(`epost/inbound-salt\0${trace}`).digest());
}

function summary(outcomes: Readonly<Record<string, Outcome>>): string {
  const all = Object.values(outcomes);
  const notified = all.filter(({ kind }) => kind === 'notified' || kind === 'sent-back').length;
  return notified === all.length ? `notified ${notified}` : `notified ${notified} of ${all.length}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
