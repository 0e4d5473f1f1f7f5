/**
 * The queue's worker for outgoing mail: route, try the servers, keep each recipient's outcome in the job's progress, tell the sender.
 * A failure is told in an attempt of its own, after it was written down: so a notice that is sent twice because the process died is the same notice.
 */
import type { Attempt, Job, Worker } from '../../queue/queue.ts';
import type { Resolver } from '../dns/answer.ts';
import { readHeaderBlock } from '../header-fields.ts';
import type { ReturnPaths } from '../returns/return-path.ts';
import { nextTryAt, type RetrySettings } from './backoff.ts';
import { type Delivery, deliverTo } from './client.ts';
import type { Mail, RecipientDsn } from './connection.ts';
import type { Ledger } from './ledger.ts';
import { type NoticeFacts, noticeFacts } from './notice.ts';
import type { Outcome } from './outcome.ts';
import type { GroupAnswer } from './pace/group-pace.ts';
import type { HostPace } from './pace/host-pace.ts';
import type { SmtpPool } from './pool.ts';
import {
  decodeProgress,
  decodeRelayBody,
  domainOfRecipient,
  encodeProgress,
  lanePrefix,
  type Progress,
  type RelayBody,
} from './relay-job.ts';
import type { ResolverWatch } from './resolver-watch.ts';
import { type Hop, type RouteOptions, routeTo } from './route.ts';
import { type Suppression, suppressionText } from './suppression.ts';
import { type SessionResult, sessionFailure } from './tls-report/session-result.ts';
import type { Level, Security, Transport } from './transport/security.ts';

export type Told =
  | { readonly kind: 'sent' | 'no-such-user' }
  | { readonly kind: 'later' | 'never'; readonly reason: string };

export interface RelayLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export type Trace = (
  id: string,
  event: { what: string; [fact: string]: string | number | boolean | readonly string[] | undefined },
) => void;

export interface DeliverParts {
  readonly resolver: Resolver;
  readonly pool: SmtpPool;
  readonly transport: Transport;
  /** What a try proved of TLS, for the domain's reports (RFC 8460). */
  readonly tlsResult: (result: SessionResult) => void;
  readonly ledger: Ledger;
  readonly pace: Pick<HostPace, 'recall' | 'admit' | 'began'>;
  readonly resolverWatch: Pick<ResolverWatch, 'isBroken'>;
  readonly suppression: Pick<Suppression, 'look' | 'refused' | 'clear'>;
  readonly hostname: string;
  /** What goes out as reverse-path. */
  readonly returnPaths: Pick<ReturnPaths, 'sign'>;
  readonly route: Omit<RouteOptions, 'resolver' | 'random'>;
  readonly retry: RetrySettings;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: RelayLog;
  readonly trace: Trace;
  /** Fetches a message that the ring keeps. */
  readonly fetch: (ref: unknown) => Promise<Uint8Array>;
  /** Puts a notice into the inbox of this identity. */
  readonly notifyFailure: (facts: NoticeFacts, identity: string) => Promise<Told>;
}

/** RFC 5321 §4.5.4.1 leaves it open when to warn; after four hours people begin to wonder. */
const delayedAfterMs = 4 * 3_600_000;
/** RFC 3464 returns the header; a message's header block may be 256 KiB, a notice is for reading. */
const maxHeaderBytes = 32 * 1024;

/** Every job that is due asks; a resolver that is restarted is back in seconds. */
const resolverRetryMs = 60_000;

export function deliverWorker(parts: DeliverParts): Worker {
  return async (job, signal) => new DeliveryAttempt(parts, job, signal).run();
}

class DeliveryAttempt {
  readonly #parts: DeliverParts;
  readonly #job: Job;
  readonly #signal: AbortSignal;
  readonly #body: RelayBody;
  readonly #domain: string;
  readonly #recipients: readonly string[];
  readonly #outcomes: Map<string, Outcome>;
  readonly #asked: ReadonlyMap<string, RecipientDsn>;
  /** Recipients of whom something is remembered that a success would clear. */
  readonly #suspects = new Set<string>();
  #told: readonly string[];
  #delayedAt: number | undefined;

  constructor(parts: DeliverParts, job: Job, signal: AbortSignal) {
    this.#parts = parts;
    this.#job = job;
    this.#signal = signal;
    this.#body = decodeRelayBody(job.body);
    this.#domain = job.lane.slice(lanePrefix.length);
    this.#recipients = this.#body.recipients.filter((recipient) => domainOfRecipient(recipient) === this.#domain);
    this.#asked = new Map(this.#body.dsn);
    const progress = decodeProgress(job.progress);
    this.#outcomes = new Map(progress.outcomes);
    this.#told = progress.told;
    this.#delayedAt = progress.delayedAt;
  }

  async run(): Promise<Attempt> {
    const { action, untold } = this.#untold();
    if (untold.length > 0) return this.#tell(action, untold);
    await this.#askLedger();
    await this.#askSuppression();
    const open = this.#open();
    if (this.#job.failing !== undefined) this.#giveUp(open, this.#job.failing);
    else if (open.length > 0) {
      const obstacle = await this.#deliver(open);
      if (obstacle !== undefined) return obstacle;
    }
    this.#expire();
    return this.#next();
  }

  /** Somebody who may says that it is to end. RFC 3463: 5.0.0, no cause of the system's own. */
  #giveUp(open: readonly string[], reason: string): void {
    this.#setAll(open, { kind: 'never', at: this.#parts.now(), status: '5.0.0', reply: `it was given up: ${reason}` });
  }

  /** Recipients without a final outcome. */
  #open(): string[] {
    return this.#recipients.filter((recipient) => (this.#outcomes.get(recipient)?.kind ?? 'later') === 'later');
  }

  /** Whose end is to be told next, those who failed first. */
  #untold(): { readonly action: 'failed' | 'relayed'; readonly untold: readonly string[] } {
    // RFC 5321 §6.1: nobody is told of mail from the null sender.
    const open = this.#body.envelopeFrom === '' ? [] : this.#recipients.filter((one) => !this.#told.includes(one));
    const failed = open.filter(
      (recipient) => this.#outcomes.get(recipient)?.kind === 'never' && wants(this.#asked.get(recipient), 'FAILURE'),
    );
    if (failed.length > 0) return { action: 'failed', untold: failed };
    // RFC 3461 §5.2.2: what a host took that does not report is reported by us as relayed.
    const relayed = open.filter((recipient) => {
      const outcome = this.#outcomes.get(recipient);
      return outcome?.kind === 'delivered' && !outcome.takesDsn && wants(this.#asked.get(recipient), 'SUCCESS');
    });
    return { action: 'relayed', untold: relayed };
  }

  /** What a host took before the process died. */
  async #askLedger(): Promise<void> {
    for (const recipient of this.#open()) {
      if (!(await this.#parts.ledger.has(this.#job.id, recipient))) continue;
      const reply = 'accepted in an attempt that did not end';
      this.#outcomes.set(recipient, {
        kind: 'delivered',
        at: this.#parts.now(),
        host: 'unknown',
        reply,
        takesDsn: false,
      });
    }
  }

  /** Whoever was found dead by others meanwhile is still tried where this message has begun to be. */
  async #askSuppression(): Promise<void> {
    for (const recipient of this.#open()) {
      if (this.#outcomes.has(recipient)) continue;
      const { suppressed, isSuspect } = await this.#parts.suppression.look(recipient);
      if (isSuspect) this.#suspects.add(recipient);
      if (suppressed === undefined) continue;
      const status = suppressed.proofs.at(-1)?.status ?? '5.1.1';
      const reply = suppressionText(suppressed);
      this.#outcomes.set(recipient, { kind: 'never', at: this.#parts.now(), status, reply });
      this.#parts.trace(this.#body.trace, { what: 'suppressed', recipient, since: suppressed.since });
    }
  }

  /** What this attempt found out of addresses. Without its memory an address is tried once more often. */
  async #learn(tried: readonly string[]): Promise<void> {
    const { suppression, now, trace, log } = this.#parts;
    for (const recipient of tried) {
      const outcome = this.#outcomes.get(recipient);
      try {
        if (outcome?.kind === 'delivered' && this.#suspects.has(recipient)) await suppression.clear(recipient);
        if (outcome?.kind !== 'never' || outcome.ofAddress !== true) continue;
        const proof = { at: now(), trace: this.#body.trace, status: outcome.status, said: outcome.reply };
        const isDead = await suppression.refused(recipient, proof);
        if (isDead) trace(this.#body.trace, { what: 'suppression', recipient });
      } catch (error) {
        log.warn({ recipient, error: String(error) }, 'what was learned of an address could not be kept');
      }
    }
  }

  /** Sets the outcomes; or says why nothing could be tried that is no fault of this mail's or its destination's. */
  async #deliver(open: readonly string[]): Promise<Attempt | undefined> {
    const { resolver, random, route, pace, now } = this.#parts;
    const found = await routeTo(this.#domain, { ...route, resolver, random });
    if (found.kind !== 'hosts') {
      if (found.kind === 'later' && (await this.#parts.resolverWatch.isBroken()))
        return this.#withoutResolver(found.why, open);
      this.#setAll(open, { kind: found.kind, at: now(), status: found.status, reply: found.why });
      return undefined;
    }
    const { lane } = this.#job;
    await pace.recall(lane);
    const admission = pace.admit(lane, found.group);
    if (admission.kind === 'away') {
      const reply = `not tried again so soon: ${admission.text}`;
      this.#setAll(open, { kind: 'later', at: now(), status: '4.4.1', reply });
      return undefined;
    }
    const ended = pace.began(lane, found.group);
    let answer: GroupAnswer | undefined;
    try {
      answer = await this.#deliverBy(found.hops, open);
      await this.#shareLedger();
      await this.#learn(open);
    } finally {
      ended(answer);
    }
    return undefined;
  }

  /**
   * RFC 5321 §4.5.4.1 counts attempts at delivery; without names none can be made, and the mail must not age for it. Its sender is told all the same that
   * it waits: that he was told has to be written down, and so this once it counts.
   */
  async #withoutResolver(found: string, open: readonly string[]): Promise<Attempt> {
    const { now, random } = this.#parts;
    const at = Math.round(now() + resolverRetryMs * (0.5 + random()));
    const why = `the resolver answers nothing: ${found}`;
    if (!this.#isDelayDue()) return { kind: 'put-off', at, why };
    // RFC 3463: 4.4.3 directory server failure.
    this.#setAll(open, { kind: 'later', at: now(), status: '4.4.3', reply: why });
    await this.#tellDelay(open);
    return { kind: 'later', at, why, progress: this.#progress() };
  }

  /** What the servers' behaviour says of how busy they are; undefined where it was not their turn. */
  async #deliverBy(hops: readonly Hop[], open: readonly string[]): Promise<GroupAnswer | undefined> {
    const { pool, now, transport } = this.#parts;
    const bytes = await this.#bytes().catch(messageOf);
    if (typeof bytes === 'string') {
      // A node that is away for an hour is no reason to set mail aside. RFC 3463: 4.3.0 other mail system status.
      const reply = `the message could not be fetched from the ring: ${bytes}`;
      this.#setAll(open, { kind: 'later', at: now(), status: '4.3.0', reply });
      return undefined;
    }
    const { envelopeFrom, arrivedAt, ret, envid } = this.#body;
    const from = this.#parts.returnPaths.sign(envelopeFrom, arrivedAt);
    const mail: Mail = { from, recipients: open, bytes, ret, envid, dsn: this.#asked };
    const useless: string[] = [];
    let isBusy = false;
    for (const hop of hops) {
      this.#signal.throwIfAborted();
      const security = await transport.of(this.#domain, hop);
      if (security.kind === 'refused') {
        this.#report(hop, security, { type: security.type, reason: security.why });
        useless.push(`${hop.name} (${hop.address}): ${security.why}`);
        continue;
      }
      const startedAt = now();
      const delivery = await deliverTo(pool, hop, security.demand, mail, now, (accepted) => this.#wrote(accepted));
      const failure = tlsFailureOf(delivery, security);
      if (hop.isSmarthost !== true && (delivery.kind === 'answered' || failure !== undefined))
        this.#report(hop, security, failure);
      if (delivery.kind === 'answered') {
        for (const [recipient, outcome] of delivery.outcomes) this.#outcomes.set(recipient, outcome);
        await this.#secured(hop, security.by, delivery.level);
        return answerOf(delivery, now() - startedAt);
      }
      isBusy ||= delivery.isBusy;
      useless.push(`${hop.name} (${hop.address}): ${delivery.reply}`);
    }
    const text = useless.join('; ');
    // RFC 3463: 4.4.1 no answer from host.
    this.#setAll(open, { kind: 'later', at: now(), status: '4.4.1', reply: text });
    return { kind: isBusy ? 'busy' : 'away', text };
  }

  /** For the report of TLS (RFC 8460). */
  #report(hop: Hop, { policy }: Security, failure: SessionResult['failure']): void {
    const server = { name: hop.name, address: hop.address };
    this.#parts.tlsResult({ domain: this.#domain, policy, server, ...(failure === undefined ? {} : { failure }) });
  }

  async #secured(hop: Hop, by: 'none' | 'mta-sts' | 'dane', level: Level): Promise<void> {
    const fell = await this.#parts.transport.reached(this.#domain, level);
    const event = { what: 'transport', host: hop.name, level, by, ...(fell ? { before: 'more' } : {}) };
    this.#parts.trace(this.#body.trace, event);
  }

  /** In the same tick as the host's 250. */
  #wrote(accepted: readonly string[]): void {
    try {
      this.#parts.ledger.write(this.#job.id, accepted);
    } catch (error) {
      // The message is delivered all the same; only a kill in the next moments would now send it twice.
      this.#parts.log.error({ job: this.#job.id, error: String(error) }, 'a delivery could not be written down');
    }
  }

  async #shareLedger(): Promise<void> {
    try {
      await this.#parts.ledger.shared(this.#job.id);
    } catch (error) {
      // Written here all the same; only if this gateway dies before its queue is back would another send it again.
      this.#parts.log.warn(
        { job: this.#job.id, error: String(error) },
        'other gateways could not be told of a delivery',
      );
    }
  }

  #setAll(recipients: readonly string[], outcome: Outcome): void {
    for (const recipient of recipients) this.#outcomes.set(recipient, outcome);
  }

  async #bytes(): Promise<Uint8Array> {
    const { message } = this.#body;
    return message.kind === 'inline' ? message.bytes : this.#parts.fetch(message.ref);
  }

  get #giveUpAt(): number {
    return this.#body.arrivedAt + this.#parts.retry.giveUpMs;
  }

  #expire(): void {
    const { now } = this.#parts;
    if (now() < this.#giveUpAt) return;
    for (const recipient of this.#open()) {
      const last = this.#outcomes.get(recipient);
      const reason = last === undefined ? '' : `; the last try said: ${last.reply}`;
      const host = last?.host === undefined ? {} : { host: last.host };
      // RFC 3463: 5.4.7 delivery time expired.
      const reply = `it could not be delivered in time${reason}`;
      this.#outcomes.set(recipient, { kind: 'never', at: now(), status: '5.4.7', reply, ...host });
    }
  }

  async #next(): Promise<Attempt> {
    const { now, random, retry } = this.#parts;
    const why = this.#summary();
    this.#traceOutcomes(why);
    if (this.#untold().untold.length > 0) return { kind: 'later', at: now(), why, progress: this.#progress() };
    const open = this.#open();
    if (open.length === 0) return { kind: 'done', why };
    await this.#tellDelay(open);
    const at = Math.min(nextTryAt(retry, this.#job.attemptCount + 1, now(), random), this.#giveUpAt);
    return { kind: 'later', at: Math.max(at, now() + 1), why, progress: this.#progress() };
  }

  /** The attempt that tells the sender, and nothing else. */
  async #tell(action: 'failed' | 'relayed', untold: readonly string[]): Promise<Attempt> {
    const { now, random, retry } = this.#parts;
    const told = await this.#notify(action, untold);
    if (told.kind === 'never' || (told.kind === 'later' && now() > this.#giveUpAt + retry.giveUpMs)) {
      return { kind: 'never', why: `the sender could not be told (${action}): ${told.reason}` };
    }
    if (told.kind === 'later') {
      const at = nextTryAt(retry, this.#job.attemptCount, now(), random);
      return { kind: 'later', at, why: `the sender could not be told: ${told.reason}` };
    }
    this.#told = [...this.#told, ...untold];
    const what = action === 'failed' ? 'the failure' : 'the delivery, as he asked';
    const why = told.kind === 'sent' ? `the sender was told of ${what}` : 'the sender is gone and was not told';
    this.#parts.trace(this.#body.trace, { what: 'notice', action, recipients: untold, result: told.kind });
    if (this.#untold().untold.length > 0) return { kind: 'later', at: now(), why, progress: this.#progress() };
    if (this.#open().length === 0) return { kind: 'done', why };
    const at = nextTryAt(retry, this.#job.attemptCount, now(), random);
    return { kind: 'later', at, why, progress: this.#progress() };
  }

  #isDelayDue(): boolean {
    const { now, retry } = this.#parts;
    const isLate = now() - this.#body.arrivedAt >= delayedAfterMs && retry.giveUpMs > delayedAfterMs;
    return isLate && this.#delayedAt === undefined && this.#body.envelopeFrom !== '';
  }

  /** Once, and if it does not work, not at all: it is only a courtesy. */
  async #tellDelay(open: readonly string[]): Promise<void> {
    if (!this.#isDelayDue()) return;
    this.#delayedAt = this.#parts.now();
    const wanting = open.filter((recipient) => wants(this.#asked.get(recipient), 'DELAY'));
    if (wanting.length === 0) return;
    const told = await this.#notify('delayed', wanting);
    this.#parts.trace(this.#body.trace, { what: 'notice', action: 'delayed', recipients: wanting, result: told.kind });
  }

  async #notify(action: 'failed' | 'delayed' | 'relayed', recipients: readonly string[]): Promise<Told> {
    const concerned = recipients.flatMap((address) => {
      const outcome = this.#outcomes.get(address);
      return outcome === undefined ? [] : [{ address, outcome, orcpt: this.#asked.get(address)?.orcpt }];
    });
    const { envelopeFrom, envid, arrivedAt, trace, identity } = this.#body;
    const facts = noticeFacts({
      action,
      hostname: this.#parts.hostname,
      sender: envelopeFrom,
      recipients: concerned,
      // A message that is lost itself must not keep its sender from being told.
      originalHeader: await this.#bytes().then(headerOf, () => new Uint8Array()),
      envid,
      arrivedAt,
      at: Math.max(...concerned.map(({ outcome }) => outcome.at)),
      giveUpAt: this.#giveUpAt,
      trace,
    });
    try {
      return await this.#parts.notifyFailure(facts, identity);
    } catch (error) {
      return { kind: 'later', reason: messageOf(error) };
    }
  }

  #progress(): Uint8Array {
    const progress: Progress = {
      outcomes: this.#outcomes,
      told: this.#told,
      ...(this.#delayedAt === undefined ? {} : { delayedAt: this.#delayedAt }),
    };
    return encodeProgress(progress);
  }

  /** One line for the queue's list: equal outcomes together. */
  #summary(): string {
    const groups = new Map<string, string[]>();
    for (const [recipient, outcome] of this.#outcomes) {
      const said = `${outcome.kind}: ${outcome.host === undefined ? '' : `${outcome.host}: `}${outcome.reply}`;
      groups.set(said, [...(groups.get(said) ?? []), recipient]);
    }
    return [...groups].map(([said, recipients]) => `${recipients.join(', ')} ${said}`).join(' | ');
  }

  #traceOutcomes(why: string): void {
    const { log, trace } = this.#parts;
    const { trace: id } = this.#body;
    log.info({ trace: id, job: this.#job.id, attempt: this.#job.attemptCount + 1, outcome: why }, 'delivery attempt');
    for (const [recipient, outcome] of this.#outcomes) {
      if (outcome.at < this.#parts.now() - 600_000) continue;
      const { kind, host, reply } = outcome;
      trace(id, { what: 'delivery', recipient, result: kind, host, reply });
    }
  }
}

/** A host that was of no use for another reason than TLS says nothing of its TLS. */
function tlsFailureOf(
  delivery: Delivery,
  { policy, tested }: Extract<Security, { kind: 'demand' }>,
): SessionResult['failure'] {
  if (delivery.kind === 'unusable')
    return delivery.tls === undefined ? undefined : { type: delivery.tls, reason: delivery.reply };
  return tested === undefined ? sessionFailure(policy, delivery) : { type: 'validation-failure', reason: tested };
}

function answerOf({ outcomes, isBusy }: Extract<Delivery, { kind: 'answered' }>, tookMs: number): GroupAnswer {
  const replies = [...outcomes.values()];
  if (isBusy) return { kind: 'busy', text: replies[0]?.reply ?? '' };
  // RFC 5321 §4.2.3: 450 mailbox unavailable, 451 local error; with all recipients that is as often "not so fast" as greylisting.
  const isSlower = replies.every(({ kind, reply }) => kind === 'later' && /^45[01]/.test(reply));
  return isSlower ? { kind: 'slower' } : { kind: 'fine', tookMs };
}

/** RFC 3461 §4.1: where nothing was asked, failures are told, and delays. */
function wants(asked: RecipientDsn | undefined, what: 'FAILURE' | 'DELAY' | 'SUCCESS'): boolean {
  if (asked === undefined || asked.notify.length === 0) return what !== 'SUCCESS';
  return asked.notify.includes(what);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function headerOf(message: Uint8Array): Uint8Array {
  return message.slice(0, Math.min(readHeaderBlock(message).end, maxHeaderBytes));
}
