/** The queue's worker for outgoing mail: route, try the servers, keep each recipient's outcome in the job's progress, have the sender told. */
import type { Attempt, Job, Worker } from '../../queue/queue.ts';
import { nextTryAt } from './backoff.ts';
import { type Delivery, deliverTo, type Lacking } from './client.ts';
import type { Mail } from './connection.ts';
import type { DeliverParts } from './deliver-parts.ts';
import { MailState } from './mail-state.ts';
import type { GroupAnswer } from './pace/group-pace.ts';
import { type Hop, routeTo } from './route.ts';
import { SenderReports } from './sender-reports.ts';
import { suppressionText } from './suppression.ts';
import { type SessionResult, sessionFailure } from './tls-report/session-result.ts';
import type { Level, Security } from './transport/security.ts';

/** Every job that is due asks; a resolver that is restarted is back in seconds. */
const resolverRetryMs = 60_000;

export function deliverWorker(parts: DeliverParts): Worker {
  return async (job, signal) => new DeliveryAttempt(parts, job, signal).run();
}

class DeliveryAttempt {
  readonly #parts: DeliverParts;
  readonly #job: Job;
  readonly #signal: AbortSignal;
  readonly #state: MailState;
  readonly #reports: SenderReports;
  /** Recipients of whom something is remembered that a success would clear. */
  readonly #suspects = new Set<string>();

  constructor(parts: DeliverParts, job: Job, signal: AbortSignal) {
    this.#parts = parts;
    this.#job = job;
    this.#signal = signal;
    this.#state = new MailState(job);
    this.#reports = new SenderReports(parts, this.#state, async () => this.#bytes());
  }

  async run(): Promise<Attempt> {
    const due = this.#reports.untold();
    if (due.untold.length > 0) return this.#reports.tell(due);
    await this.#askLedger();
    await this.#askSuppression();
    const open = this.#state.open();
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
    this.#state.setAll(open, {
      kind: 'never',
      at: this.#parts.now(),
      status: '5.0.0',
      reply: `it was given up: ${reason}`,
    });
  }

  /** What a host took before the process died. */
  async #askLedger(): Promise<void> {
    for (const recipient of this.#state.open()) {
      if (!(await this.#parts.ledger.has(this.#job.id, recipient))) continue;
      const reply = 'accepted in an attempt that did not end';
      this.#state.outcomes.set(recipient, {
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
    for (const recipient of this.#state.open()) {
      if (this.#state.outcomes.has(recipient)) continue;
      const { suppressed, isSuspect } = await this.#parts.suppression.look(recipient);
      if (isSuspect) this.#suspects.add(recipient);
      if (suppressed === undefined) continue;
      const status = suppressed.proofs.at(-1)?.status ?? '5.1.1';
      const reply = suppressionText(suppressed);
      this.#state.outcomes.set(recipient, { kind: 'never', at: this.#parts.now(), status, reply });
      this.#parts.trace(this.#state.body.trace, { what: 'suppressed', recipient, since: suppressed.since });
    }
  }

  /** What this attempt found out of addresses. Without its memory an address is tried once more often. */
  async #learn(tried: readonly string[]): Promise<void> {
    const { suppression, now, trace, log } = this.#parts;
    for (const recipient of tried) {
      const outcome = this.#state.outcomes.get(recipient);
      try {
        if (outcome?.kind === 'delivered' && this.#suspects.has(recipient)) await suppression.clear(recipient);
        if (outcome?.kind !== 'never' || outcome.ofAddress !== true) continue;
        const proof = { at: now(), trace: this.#state.body.trace, status: outcome.status, said: outcome.reply };
        const isDead = await suppression.refused(recipient, proof);
        if (isDead) trace(this.#state.body.trace, { what: 'suppression', recipient });
      } catch (error) {
        log.warn({ recipient, error: String(error) }, 'what was learned of an address could not be kept');
      }
    }
  }

  /** Sets the outcomes; or says why nothing could be tried that is no fault of this mail's or its destination's. */
  async #deliver(open: readonly string[]): Promise<Attempt | undefined> {
    const { resolver, random, route, pace, now } = this.#parts;
    const found = await routeTo(this.#state.domain, { ...route, resolver, random });
    if (found.kind !== 'hosts') {
      if (found.kind === 'later' && (await this.#parts.resolverWatch.isBroken()))
        return this.#withoutResolver(found.why, open);
      this.#state.setAll(open, { kind: found.kind, at: now(), status: found.status, reply: found.why });
      return undefined;
    }
    const { lane } = this.#job;
    await pace.recall(lane);
    const admission = pace.admit(lane, found.group);
    if (admission.kind === 'away') {
      const reply = `not tried again so soon: ${admission.text}`;
      this.#state.setAll(open, { kind: 'later', at: now(), status: '4.4.1', reply });
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
    if (!this.#reports.isDelayDue()) return { kind: 'put-off', at, why };
    // RFC 3463: 4.4.3 directory server failure.
    this.#state.setAll(open, { kind: 'later', at: now(), status: '4.4.3', reply: why });
    await this.#reports.tellDelay(open);
    return { kind: 'later', at, why, progress: this.#state.progress() };
  }

  /** What the servers' behaviour says of how busy they are; undefined where it was not their turn. */
  async #deliverBy(hops: readonly Hop[], open: readonly string[]): Promise<GroupAnswer | undefined> {
    const { pool, now, transport } = this.#parts;
    const bytes = await this.#bytes().catch(messageOf);
    if (typeof bytes === 'string') {
      // A node that is away for an hour is no reason to set mail aside. RFC 3463: 4.3.0 other mail system status.
      const reply = `the message could not be fetched from the ring: ${bytes}`;
      this.#state.setAll(open, { kind: 'later', at: now(), status: '4.3.0', reply });
      return undefined;
    }
    const { envelopeFrom, arrivedAt, ret, envid, tls } = this.#state.body;
    const from = this.#parts.returnPaths.sign(envelopeFrom, arrivedAt);
    const mail: Mail = {
      from,
      recipients: open,
      bytes,
      ret,
      envid,
      dsn: this.#state.asked,
      requireTls: tls === 'required',
    };
    const useless: string[] = [];
    const lacking: Lacking[] = [];
    let isBusy = false;
    for (const hop of hops) {
      this.#signal.throwIfAborted();
      const security = await transport.of(this.#state.domain, hop, tls);
      if (security.kind === 'unprovable') {
        lacking.push('5.7.10');
        useless.push(`${hop.name} (${hop.address}): ${security.why}`);
        continue;
      }
      if (security.kind === 'refused') {
        this.#report(hop, security, { type: security.type, reason: security.why });
        useless.push(`${hop.name} (${hop.address}): ${security.why}`);
        continue;
      }
      const startedAt = now();
      const delivery = await deliverTo(pool, hop, security.demand, mail, now, (accepted) => this.#wrote(accepted));
      const failure = tlsFailureOf(delivery, security);
      // Where the sender waives TLS, the domain's policy was not tried.
      if (
        hop.named === undefined &&
        hop.name !== hop.address &&
        tls !== 'optional' &&
        (delivery.kind === 'answered' || failure !== undefined)
      )
        this.#report(hop, security, failure);
      if (delivery.kind === 'answered') {
        for (const [recipient, outcome] of delivery.outcomes) this.#state.outcomes.set(recipient, outcome);
        await this.#secured(hop, security.by, delivery.level);
        return answerOf(delivery, now() - startedAt);
      }
      isBusy ||= delivery.isBusy;
      if (tls === 'required' && delivery.lacking !== undefined) lacking.push(delivery.lacking);
      useless.push(`${hop.name} (${hop.address}): ${delivery.reply}`);
    }
    const text = useless.join('; ');
    if (lacking.length === hops.length) {
      // RFC 8689 §4.2.1: none of them meets what the sender requires, and he is told. It says nothing of how busy they are.
      const status = lacking.find((one) => one === '5.7.30') ?? '5.7.10';
      this.#state.setAll(open, { kind: 'never', at: now(), status, reply: text });
      return undefined;
    }
    // RFC 3463: 4.4.1 no answer from host.
    this.#state.setAll(open, { kind: 'later', at: now(), status: '4.4.1', reply: text });
    return lacking.length > 0 ? undefined : { kind: isBusy ? 'busy' : 'away', text };
  }

  /** For the report of TLS (RFC 8460). */
  #report(hop: Hop, { policy }: Exclude<Security, { kind: 'unprovable' }>, failure: SessionResult['failure']): void {
    const server = { name: hop.name, address: hop.address };
    this.#parts.tlsResult({
      domain: this.#state.domain,
      policy,
      server,
      ...(failure === undefined ? {} : { failure }),
    });
  }

  async #secured(hop: Hop, by: 'none' | 'mta-sts' | 'dane', level: Level): Promise<void> {
    const fell = await this.#parts.transport.reached(this.#state.domain, level);
    const event = { what: 'transport', host: hop.name, level, by, ...(fell ? { before: 'more' } : {}) };
    this.#parts.trace(this.#state.body.trace, event);
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

  async #bytes(): Promise<Uint8Array> {
    const { message } = this.#state.body;
    return message.kind === 'inline' ? message.bytes : this.#parts.fetch(message.ref);
  }

  #expire(): void {
    const { now } = this.#parts;
    if (now() < this.#reports.giveUpAt) return;
    for (const recipient of this.#state.open()) {
      const last = this.#state.outcomes.get(recipient);
      const reason = last === undefined ? '' : `; the last try said: ${last.reply}`;
      const host = last?.host === undefined ? {} : { host: last.host };
      // RFC 3463: 5.4.7 delivery time expired.
      const reply = `it could not be delivered in time${reason}`;
      this.#state.outcomes.set(recipient, { kind: 'never', at: now(), status: '5.4.7', reply, ...host });
    }
  }

  async #next(): Promise<Attempt> {
    const { now, random, retry } = this.#parts;
    const why = this.#state.summary();
    this.#traceOutcomes(why);
    if (this.#reports.untold().untold.length > 0)
      return { kind: 'later', at: now(), why, progress: this.#state.progress() };
    const open = this.#state.open();
    if (open.length === 0) return { kind: 'done', why };
    await this.#reports.tellDelay(open);
    const at = Math.min(nextTryAt(retry, this.#job.attemptCount + 1, now(), random), this.#reports.giveUpAt);
    return { kind: 'later', at: Math.max(at, now() + 1), why, progress: this.#state.progress() };
  }

  #traceOutcomes(why: string): void {
    const { log, trace } = this.#parts;
    const { trace: id } = this.#state.body;
    log.info({ trace: id, job: this.#job.id, attempt: this.#job.attemptCount + 1, outcome: why }, 'delivery attempt');
    for (const [recipient, outcome] of this.#state.outcomes) {
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
