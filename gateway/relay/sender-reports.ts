/**
 * What the sender of a message is told of it (RFC 3461, RFC 3464): failures, a delay, and success where he asked and nobody else will say it.
 * A failure is told in an attempt of its own, after it was written down: so a notice that is sent twice because the process died is the same notice.
 */
import type { Attempt } from '../../queue/queue.ts';
import { returnedPart } from '../returned-part.ts';
import { nextTryAt } from './backoff.ts';
import type { RecipientDsn } from './connection.ts';
import type { DeliverParts, Told } from './deliver-parts.ts';
import type { MailState } from './mail-state.ts';
import { noticeFacts } from './notice.ts';

/** RFC 5321 §4.5.4.1 leaves it open when to warn; after four hours people begin to wonder. */
const delayedAfterMs = 4 * 3_600_000;

export interface Untold {
  readonly action: 'failed' | 'relayed';
  /** Empty where nobody is to be told of. */
  readonly untold: readonly string[];
}

export class SenderReports {
  readonly #parts: Pick<DeliverParts, 'hostname' | 'retry' | 'notifyFailure' | 'now' | 'random' | 'trace'>;
  readonly #state: MailState;
  readonly #bytes: () => Promise<Uint8Array>;

  /** `bytes`: the message as it goes on the wire; may reject. */
  constructor(parts: DeliverParts, state: MailState, bytes: () => Promise<Uint8Array>) {
    this.#parts = parts;
    this.#state = state;
    this.#bytes = bytes;
  }

  get giveUpAt(): number {
    return this.#state.body.arrivedAt + this.#parts.retry.giveUpMs;
  }

  /** Whose end is to be told next, those who failed first. */
  untold(): Untold {
    const { body, recipients, told, outcomes, asked } = this.#state;
    // RFC 5321 §6.1: nobody is told of mail from the null sender.
    const open = body.envelopeFrom === '' ? [] : recipients.filter((one) => !told.includes(one));
    const failed = open.filter(
      (recipient) => outcomes.get(recipient)?.kind === 'never' && wants(asked.get(recipient), 'FAILURE'),
    );
    if (failed.length > 0) return { action: 'failed', untold: failed };
    // RFC 3461 §5.2.2: what a host took that does not report is reported by us as relayed.
    const relayed = open.filter((recipient) => {
      const outcome = outcomes.get(recipient);
      return outcome?.kind === 'delivered' && !outcome.takesDsn && wants(asked.get(recipient), 'SUCCESS');
    });
    return { action: 'relayed', untold: relayed };
  }

  /** The attempt that tells the sender, and nothing else. */
  async tell({ action, untold }: Untold): Promise<Attempt> {
    const { now, random, retry, trace } = this.#parts;
    const state = this.#state;
    const told = await this.#notify(action, untold);
    if (told.kind === 'never' || (told.kind === 'later' && now() > this.giveUpAt + retry.giveUpMs)) {
      return { kind: 'never', why: `the sender could not be told (${action}): ${told.reason}` };
    }
    const nextAt = nextTryAt(retry, state.attemptCount, now(), random);
    if (told.kind === 'later')
      return { kind: 'later', at: nextAt, why: `the sender could not be told: ${told.reason}` };
    state.told = [...state.told, ...untold];
    const what = action === 'failed' ? 'the failure' : 'the delivery, as he asked';
    const why = told.kind === 'sent' ? `the sender was told of ${what}` : 'the sender is gone and was not told';
    trace(state.body.trace, { what: 'notice', action, recipients: untold, result: told.kind });
    if (this.untold().untold.length > 0) return { kind: 'later', at: now(), why, progress: state.progress() };
    if (state.open().length === 0) return { kind: 'done', why };
    return { kind: 'later', at: nextAt, why, progress: state.progress() };
  }

  isDelayDue(): boolean {
    const { now, retry } = this.#parts;
    const { body, delayedAt } = this.#state;
    const isLate = now() - body.arrivedAt >= delayedAfterMs && retry.giveUpMs > delayedAfterMs;
    return isLate && delayedAt === undefined && body.envelopeFrom !== '';
  }

  /** Once, and if it does not work, not at all: it is only a courtesy. */
  async tellDelay(open: readonly string[]): Promise<void> {
    if (!this.isDelayDue()) return;
    const { body, asked } = this.#state;
    this.#state.delayedAt = this.#parts.now();
    const wanting = open.filter((recipient) => wants(asked.get(recipient), 'DELAY'));
    if (wanting.length === 0) return;
    const told = await this.#notify('delayed', wanting);
    this.#parts.trace(body.trace, { what: 'notice', action: 'delayed', recipients: wanting, result: told.kind });
  }

  async #notify(action: 'failed' | 'delayed' | 'relayed', recipients: readonly string[]): Promise<Told> {
    const { outcomes, asked, body } = this.#state;
    const concerned = recipients.flatMap((address) => {
      const outcome = outcomes.get(address);
      return outcome === undefined ? [] : [{ address, outcome, orcpt: asked.get(address)?.orcpt }];
    });
    const { envelopeFrom, envid, arrivedAt, trace, identity, ret, tls } = body;
    // A message that is lost itself must not keep its sender from being told.
    const bytes = await this.#bytes().catch(() => new Uint8Array());
    const facts = noticeFacts({
      action,
      hostname: this.#parts.hostname,
      sender: envelopeFrom,
      recipients: concerned,
      ...returnedPart(bytes, ret, action === 'failed'),
      envid,
      ...(tls === 'required' ? { requireTls: true } : {}),
      arrivedAt,
      at: Math.max(...concerned.map(({ outcome }) => outcome.at)),
      giveUpAt: this.giveUpAt,
      trace,
    });
    try {
      return await this.#parts.notifyFailure(facts, identity);
    } catch (error) {
      return { kind: 'later', reason: error instanceof Error ? error.message : String(error) };
    }
  }
}

/** RFC 3461 §4.1: where nothing was asked, failures are told, and delays. */
function wants(asked: RecipientDsn | undefined, what: 'FAILURE' | 'DELAY' | 'SUCCESS'): boolean {
  if (asked === undefined || asked.notify.length === 0) return what !== 'SUCCESS';
  return asked.notify.includes(what);
}
