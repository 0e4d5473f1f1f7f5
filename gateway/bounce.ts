import { createHash } from 'node:crypto';
import { type Domain, domainOf, parseAddress } from '../policy/address.ts';
import type { NewJob } from '../queue/queue.ts';
import { mayBeReported } from './automatic-budget.ts';
import type { DkimKey } from './dkim/keys.ts';
import { dkimSignatures } from './dkim/sign.ts';
import type { FailedRecipient } from './inbound/deliver.ts';
import { encodeRelayBody, lanePrefix } from './relay/relay-job.ts';

export interface BounceOptions {
  readonly hostname: string;
  /** The domain the notice is from. */
  readonly domain: Domain;
  readonly dkim: readonly DkimKey[];
}

/**
 * The job that tells a sender on the Internet what became of an accepted message (RFC 3464), with the null
 * reverse-path (RFC 5321 §6.1). Undefined where the sender has no address that mail can go to. Deterministic in what
 * is told, so that telling it twice is one job. Undefined, too, where what is to be told of is itself an automatic answer.
 * Only for proven senders: the caller has checked that.
 */
export async function bounceJob(failed: FailedRecipient, options: BounceOptions): Promise<NewJob | undefined> {
  const sender = parseAddress(failed.sender);
  if (sender.kind === 'invalid' || !mayBeReported(failed.originalHeader, failed.action)) return undefined;
  const message = notice(failed, options);
  const keys = options.dkim;
  const signatures =
    keys.length === 0
      ? new Uint8Array()
      : await dkimSignatures(message, { domain: options.domain, keys, now: failed.receivedAt });
  const mailerDaemon = `mailer-daemon@${options.domain}`;
  const body = encodeRelayBody({
    version: 1,
    trace: failed.trace,
    identity: mailerDaemon,
    envelopeFrom: '',
    recipients: [sender.address],
    // RFC 8689 §5.
    ...(failed.dsn?.requireTls === true ? { tls: 'required' } : {}),
    arrivedAt: failed.receivedAt,
    message: { kind: 'inline', bytes: Buffer.concat([signatures, message]) },
  });
  return {
    id: `bounce:${failed.trace}:${digest(`${suffix(failed)}${failed.recipient}`)}`,
    lane: `${lanePrefix}${domainOf(sender.address)}`,
    body,
    about: {
      kind: 'bounce',
      trace: failed.trace,
      sender: mailerDaemon,
      recipients: [sender.address],
      automatic: sender.address,
    },
  };
}

// Reports of failure have the names that they had when there were no others.
const suffix = ({ action }: FailedRecipient): string => (action === 'failed' ? '' : `${action} `);

const titles = {
  failed: 'Your message could not be delivered',
  delayed: 'Your message is delayed',
  delivered: 'Your message was delivered',
} as const;

const outcomes = {
  failed: 'could not be delivered.',
  delayed: 'has not been delivered yet. You need not send it again.',
  delivered: 'was delivered, as you asked to be told.',
} as const;

function notice(failed: FailedRecipient, { hostname, domain }: BounceOptions): Uint8Array {
  const { action, dsn, original } = failed;
  const boundary = `=_${digest(`${suffix(failed)}${failed.trace} ${failed.recipient}`)}`;
  const at = new Date(failed.receivedAt).toUTCString().replace('GMT', '+0000');
  const orcpt = dsn?.recipients[failed.recipient]?.orcpt;
  const isWide = original?.some((octet) => octet > 0x7f) === true;
  const text = [
    `Date: ${at}`,
    `From: Mail Delivery System <mailer-daemon@${domain}>`,
    `To: <${failed.sender}>`,
    `Subject: ${titles[action]}`,
    `Message-ID: <${digest(`${suffix(failed)}${failed.trace} ${failed.recipient} id`)}@${hostname}>`,
    // RFC 3834 §5.
    'Auto-Submitted: auto-replied',
    'MIME-Version: 1.0',
    `Content-Type: multipart/report; report-type=delivery-status; boundary="${boundary}"`,
    ...(isWide ? ['Content-Transfer-Encoding: 8bit'] : []),
    '',
    `--${boundary}`,
    'Content-Type: text/plain; charset=utf-8',
    '',
    `Your message to <${failed.recipient}> ${outcomes[action]}`,
    failed.text,
    '',
    `Reference for the postmaster: ${failed.trace}`,
    `--${boundary}`,
    'Content-Type: message/delivery-status',
    '',
    // RFC 3464 §2.2.1, §2.3.1: as the sender gave them, in printable ASCII.
    ...(dsn?.envid === undefined ? [] : [`Original-Envelope-Id: ${printable(dsn.envid)}`]),
    `Reporting-MTA: dns; ${hostname}`,
    `Arrival-Date: ${at}`,
    '',
    ...(orcpt === undefined ? [] : [`Original-Recipient: ${printable(orcpt).replace(';', '; ')}`]),
    `Final-Recipient: rfc822; ${failed.recipient}`,
    `Action: ${action}`,
    `Status: ${failed.status}`,
    `--${boundary}`,
    ...(original === undefined
      ? ['Content-Type: text/rfc822-headers']
      : ['Content-Type: message/rfc822', ...(isWide ? ['Content-Transfer-Encoding: 8bit'] : [])]),
    '',
    '',
  ].join('\r\n');
  const returned = original ?? failed.originalHeader;
  return Buffer.concat([Buffer.from(text), returned, Buffer.from(`\r\n--${boundary}--\r\n`)]);
}

// They come here checked; this is where a line end would become a field.
function printable(text: string): string {
  return text.slice(0, 500).replace(/[^\x20-\x7e]/g, '?');
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
