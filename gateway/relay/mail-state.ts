/** What is known of one job's mail: whom it is for, what became of each recipient, and what its sender was told of that. */
import type { Job } from '../../queue/queue.ts';
import type { RecipientDsn } from './connection.ts';
import type { Outcome } from './outcome.ts';
import {
  decodeProgress,
  decodeRelayBody,
  domainOfRecipient,
  encodeProgress,
  lanePrefix,
  type RelayBody,
} from './relay-job.ts';

export class MailState {
  readonly attemptCount: number;
  readonly body: RelayBody;
  readonly domain: string;
  readonly recipients: readonly string[];
  readonly outcomes: Map<string, Outcome>;
  readonly asked: ReadonlyMap<string, RecipientDsn>;
  /** Recipients of whose end the sender was told. */
  told: readonly string[];
  delayedAt: number | undefined;

  /** Throws for a job that holds no mail of this form: the queue then sets it aside. */
  constructor(job: Job) {
    this.attemptCount = job.attemptCount;
    this.body = decodeRelayBody(job.body);
    this.domain = job.lane.slice(lanePrefix.length);
    this.recipients = this.body.recipients.filter((recipient) => domainOfRecipient(recipient) === this.domain);
    this.asked = new Map(this.body.dsn);
    const progress = decodeProgress(job.progress);
    this.outcomes = new Map(progress.outcomes);
    this.told = progress.told;
    this.delayedAt = progress.delayedAt;
  }

  /** Recipients without a final outcome. */
  open(): string[] {
    return this.recipients.filter((recipient) => (this.outcomes.get(recipient)?.kind ?? 'later') === 'later');
  }

  setAll(recipients: readonly string[], outcome: Outcome): void {
    for (const recipient of recipients) this.outcomes.set(recipient, outcome);
  }

  progress(): Uint8Array {
    const { outcomes, told, delayedAt } = this;
    return encodeProgress({ outcomes, told, ...(delayedAt === undefined ? {} : { delayedAt }) });
  }

  /** One line for the queue's list: equal outcomes together. */
  summary(): string {
    const groups = new Map<string, string[]>();
    for (const [recipient, outcome] of this.outcomes) {
      const said = `${outcome.kind}: ${outcome.host === undefined ? '' : `${outcome.host}: `}${outcome.reply}`;
      groups.set(said, [...(groups.get(said) ?? []), recipient]);
    }
    return [...groups].map(([said, recipients]) => `${recipients.join(', ')} ${said}`).join(' | ');
  }
}
