/**
 * What comes back for something that was forwarded goes on to who had sent that (returns/srs.ts): reports only, so that whoever has such an address cannot make
 * us send what he likes.
 */
import { createHash } from 'node:crypto';
import type { Domain } from '../../policy/address.ts';
import type { NewJob } from '../../queue/queue.ts';
import { inOrder, isLooping } from '../relay/relay-headers.ts';
import { domainOfRecipient, encodeRelayBody, lanePrefix } from '../relay/relay-job.ts';
import { readReport } from '../returns/report.ts';
import type { InboundJob, Outcome, StoredMessage } from './job.ts';
import type { Trace } from './parts.ts';

export interface SentBack {
  /** As it goes out. */
  readonly message: Uint8Array;
  readonly sender: string;
  readonly trace: string;
  readonly receivedAt: number;
  /** It came with REQUIRETLS, and goes on so (RFC 8689 §5). */
  readonly requireTls: boolean;
}

export interface SendBackParts {
  readonly hostname: string;
  readonly fetch: (message: StoredMessage) => Promise<Uint8Array>;
  readonly sendBack: (report: SentBack) => Promise<void>;
  readonly trace: Trace;
}

// A report is for reading, and its job lies in the queue.
const maxBytes = 256 * 1024;

/** Safe to repeat. Throws where the message cannot be had, or the queue does not take it, now. */
export async function sendBack(
  { hostname, fetch, sendBack: send, trace: tell }: SendBackParts,
  { message: given, trace, receivedAt, dsn }: InboundJob,
  message: StoredMessage,
  sender: string,
): Promise<Outcome> {
  const bytes = given instanceof Uint8Array ? given : await fetch(message);
  const report = await reportIn(bytes, { hostname, trace, at: receivedAt });
  tell(trace, { what: report === undefined ? 'dropped' : 'sent-back', to: sender });
  if (report === undefined) return { kind: 'dropped' };
  await send({ message: report, sender, trace, receivedAt, requireTls: dsn?.requireTls === true });
  return { kind: 'sent-back' };
}

/** A report with our trace line on top; undefined for all else. */
async function reportIn(
  bytes: Uint8Array,
  { hostname, trace, at }: { readonly hostname: string; readonly trace: string; readonly at: number },
): Promise<Uint8Array | undefined> {
  if (bytes.length > maxBytes || readReport(bytes).kind !== 'delivery') return undefined;
  const facts = { hostname, ring: hostname, trace, now: at, uniquePart: trace };
  const { message, received, block } = await inOrder(bytes, facts);
  return isLooping(message, hostname, block) ? undefined : Buffer.concat([received, message]);
}

/** With the null reverse-path. The same facts are one job. */
export function sentBackJob({ message, sender, trace, receivedAt, requireTls }: SentBack, ring: Domain): NewJob {
  const identity = `mailer-daemon@${ring}`;
  return {
    id: `sent-back:${trace}:${createHash('sha256').update(sender).digest('hex').slice(0, 32)}`,
    lane: `${lanePrefix}${domainOfRecipient(sender)}`,
    body: encodeRelayBody({
      version: 1,
      trace,
      identity,
      envelopeFrom: '',
      recipients: [sender],
      ...(requireTls ? { tls: 'required' } : {}),
      arrivedAt: receivedAt,
      message: { kind: 'inline', bytes: message },
    }),
    about: { kind: 'bounce', trace, sender: identity, recipients: [sender], automatic: sender },
  };
}
