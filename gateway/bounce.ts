import { createHash } from 'node:crypto';
import { type Domain, domainOf, parseAddress } from '../policy/address.ts';
import type { NewJob } from '../queue/queue.ts';
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

// RFC 3464 returns the header for recognition; a notice is for reading.
const maxHeaderBytes = 32 * 1024;

/**
 * The job that tells a sender on the Internet that an accepted message could not be delivered (RFC 3464), with the null
 * reverse-path (RFC 5321 §6.1). Undefined where the sender has no address that mail can go to. Deterministic in the
 * failure, so that telling it twice is one job. Only for proven senders: the caller has checked that.
 */
export async function bounceJob(failed: FailedRecipient, options: BounceOptions): Promise<NewJob | undefined> {
  const sender = parseAddress(failed.sender);
  if (sender.kind === 'invalid') return undefined;
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
    arrivedAt: failed.receivedAt,
    message: { kind: 'inline', bytes: Buffer.concat([signatures, message]) },
  });
  return {
    id: `bounce:${failed.trace}:${digest(failed.recipient)}`,
    lane: `${lanePrefix}${domainOf(sender.address)}`,
    body,
    about: { kind: 'bounce', trace: failed.trace, sender: mailerDaemon, recipients: [sender.address] },
  };
}

function notice(failed: FailedRecipient, { hostname, domain }: BounceOptions): Uint8Array {
  const boundary = `=_${digest(`${failed.trace} ${failed.recipient}`)}`;
  const at = new Date(failed.receivedAt).toUTCString().replace('GMT', '+0000');
  const text = [
    `Date: ${at}`,
    `From: Mail Delivery System <mailer-daemon@${domain}>`,
    `To: <${failed.sender}>`,
    'Subject: Your message could not be delivered',
    `Message-ID: <${digest(`${failed.trace} ${failed.recipient} id`)}@${hostname}>`,
    // RFC 3834 §5.
    'Auto-Submitted: auto-replied',
    'MIME-Version: 1.0',
    `Content-Type: multipart/report; report-type=delivery-status; boundary="${boundary}"`,
    '',
    `--${boundary}`,
    'Content-Type: text/plain; charset=utf-8',
    '',
    `Your message to <${failed.recipient}> could not be delivered.`,
    failed.text,
    '',
    `Reference for the postmaster: ${failed.trace}`,
    `--${boundary}`,
    'Content-Type: message/delivery-status',
    '',
    `Reporting-MTA: dns; ${hostname}`,
    `Arrival-Date: ${at}`,
    '',
    `Final-Recipient: rfc822; ${failed.recipient}`,
    'Action: failed',
    `Status: ${failed.status}`,
    `--${boundary}`,
    'Content-Type: text/rfc822-headers',
    '',
    '',
  ].join('\r\n');
  const header = failed.originalHeader.subarray(0, maxHeaderBytes);
  return Buffer.concat([Buffer.from(text), header, Buffer.from(`\r\n--${boundary}--\r\n`)]);
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
