import { createHash } from 'node:crypto';
import { ascii, fieldOf, headerBlock, lineEnd, readable } from './notice-header.ts';

export interface NoticeRecipient {
  readonly address: string;
  readonly action: 'failed' | 'delayed' | 'delivered' | 'relayed';
  /** RFC 3461 §4.2: `type;address` as the sender gave it. */
  readonly orcpt?: string | undefined;
  /** RFC 3463, such as `5.1.1`. */
  readonly status: string;
  /** RFC 3464 §2.3.6, such as `smtp; 550 5.1.1 no such user`. */
  readonly diagnostic?: string | undefined;
  readonly remoteMta?: string | undefined;
  /** One or two sentences for people: what happened and what to do. */
  readonly text: string;
}

export interface NoticeFacts {
  readonly reportingMta: string;
  /** Whom it is from, where that is not the mailer-daemon. */
  readonly author?: string | undefined;
  /** Who is told: the envelope sender of the message. */
  readonly sender: string;
  readonly recipients: readonly NoticeRecipient[];
  /** The header block of the message (more is cut off). */
  readonly originalHeader: Uint8Array;
  /** All of the message, returned instead of its header; CRLF line ends. */
  readonly original?: Uint8Array | undefined;
  /** A report of another system that this notice is about: attached whole. CRLF line ends. */
  readonly report?: Uint8Array | undefined;
  readonly envid?: string | undefined;
  readonly arrivedAt: number;
  readonly now: number;
  readonly traceId: string;
}

// RFC 2045 §6.8.
const base64Width = 76;

/** RFC 3464 §2.1.2: the address type, and the address in ASCII (RFC 6533 §3: `utf-8`, escaped, where it has other characters). */
function typedAddress(address: string): string {
  if (/^[ -~]*$/.test(address)) return `rfc822; ${ascii(address, 320)}`;
  const escaped = address
    .slice(0, 320)
    .replaceAll(/[^!-~]|[\\+=]/gu, (character) => `\\x{${character.codePointAt(0)?.toString(16).toUpperCase()}}`);
  return `utf-8; ${escaped}`;
}

/** RFC 5322 §3.3. */
function date(ms: number): string {
  return new Date(ms).toUTCString().replace('GMT', '+0000');
}

function base64(octets: Uint8Array): string {
  const encoded = Buffer.from(octets).toString('base64');
  const lines: string[] = [];
  for (let at = 0; at < encoded.length; at += base64Width) lines.push(encoded.slice(at, at + base64Width));
  return lines.join(lineEnd);
}

const titles = {
  failed: 'Your message could not be delivered',
  delayed: 'Your message is delayed',
  delivered: 'Your message was delivered',
  relayed: 'Your message was handed on',
} as const;

/** One action for the title: what failed matters most. */
function gravest(recipients: readonly NoticeRecipient[]): NoticeRecipient['action'] {
  return (
    (['failed', 'delayed', 'relayed'] as const).find((action) => recipients.some((one) => one.action === action)) ??
    'delivered'
  );
}

const outlook = {
  failed: 'It will not be tried again.',
  delayed: 'It is tried again by itself; you need not send it again.',
  delivered: 'You need not do anything.',
  relayed: 'You need not do anything.',
} as const;

function personText(facts: NoticeFacts, header: Buffer): string {
  const subject = fieldOf(header, 'subject');
  const about = subject === undefined ? 'the message you sent' : `your message "${readable(subject)}"`;
  const parts = facts.recipients.map(({ address, text, diagnostic }) => {
    const reply = diagnostic === undefined ? [] : [`    The other side said: ${ascii(diagnostic)}`];
    return [`  ${readable(address)}`, `    ${text}`, ...reply, ''].join(lineEnd);
  });
  return [
    `This is about ${about} of ${date(facts.arrivedAt)}.`,
    '',
    ...parts,
    outlook[gravest(facts.recipients)],
    '',
    `If you ask your postmaster about it, give this: ${ascii(facts.traceId, 64)}`,
    '',
  ].join(lineEnd);
}

/** RFC 3464 §2: fields of the message, then a block of fields for each recipient. */
function statusBlocks(facts: NoticeFacts): string {
  const perMessage = [
    ...(facts.envid === undefined ? [] : [`Original-Envelope-Id: ${ascii(facts.envid, 100)}`]),
    `Reporting-MTA: dns; ${ascii(facts.reportingMta, 255)}`,
    `Arrival-Date: ${date(facts.arrivedAt)}`,
    `X-ePOST-Trace: ${ascii(facts.traceId, 64)}`,
  ];
  const perRecipient = facts.recipients.map(({ address, action, status, diagnostic, remoteMta, orcpt }) => [
    '',
    // RFC 3464 §2.3.1.
    ...(orcpt === undefined ? [] : [`Original-Recipient: ${ascii(orcpt, 500)}`]),
    `Final-Recipient: ${typedAddress(address)}`,
    `Action: ${action}`,
    // RFC 3463 §2.
    `Status: ${/^[245]\.\d{1,3}\.\d{1,3}$/.test(status) ? status : '5.0.0'}`,
    ...(remoteMta === undefined ? [] : [`Remote-MTA: dns; ${ascii(remoteMta, 255)}`]),
    ...(diagnostic === undefined ? [] : [`Diagnostic-Code: ${ascii(diagnostic)}`]),
    `Last-Attempt-Date: ${date(facts.now)}`,
  ]);
  return [...perMessage, ...perRecipient.flat(), ''].join(lineEnd);
}

/** A Message-ID as it may stand in References (RFC 5322 §3.6.4), or nothing. */
function messageIdOf(header: Buffer): string | undefined {
  return /^<[!-;=?-~]{1,250}>$/.exec(fieldOf(header, 'message-id') ?? '')?.[0];
}

function headOf(facts: NoticeFacts, header: Buffer, identity: string): string {
  const references = messageIdOf(header);
  const mta = ascii(facts.reportingMta, 255);
  // The identity in the sender's own ring; the host itself has no mailboxes.
  const domain = /@([\w.-]{1,253})$/.exec(facts.sender)?.[1] ?? mta;
  const to = /^[!-~]{1,320}$/.test(facts.sender) ? `<${facts.sender}>` : 'undisclosed-recipients:;';
  return [
    `From: "Mail delivery" <${facts.author ?? `mailer-daemon@${domain}`}>`,
    `To: ${to}`,
    `Subject: ${titles[gravest(facts.recipients)]}`,
    `Date: ${date(facts.now)}`,
    `Message-ID: <${identity.slice(0, 32)}@${mta}>`,
    ...(references === undefined ? [] : [`In-Reply-To: ${references}`, `References: ${references}`]),
    // RFC 3834 §5: nothing automatic answers this.
    'Auto-Submitted: auto-replied',
    'MIME-Version: 1.0',
  ].join(lineEnd);
}

/**
 * A delivery status notification (RFC 3464 in a multipart/report, RFC 6522) to the envelope sender of a message: text for people, fields for programs, the header of the
 * message or all of it. It is to be sent with the null reverse-path (RFC 3464 §2). The same facts give the same octets: CRLF, and ASCII but for an attached message.
 */
export function buildNotice(facts: NoticeFacts): Uint8Array {
  const header = headerBlock(facts.originalHeader);
  const identity = createHash('sha256')
    .update(JSON.stringify([facts.traceId, facts.sender, facts.now, facts.recipients]))
    .update(header)
    .update(facts.report ?? '')
    .update(facts.original ?? '')
    .digest('hex');
  // No part can hold it: it is a hash over all of them.
  const boundary = `=_epost_${identity.slice(0, 40)}`;
  const part = (type: string, encoding: string, body: string): string =>
    [`--${boundary}`, `Content-Type: ${type}`, `Content-Transfer-Encoding: ${encoding}`, '', body, ''].join(lineEnd);
  const plain = !header.some((octet) => octet > 127);
  // RFC 2046 §5.2.1: a message in a message is not encoded. RFC 6533 §6: with letters beyond ASCII in its header it is a global one.
  const whole = (message: Uint8Array, isAscii: boolean): string =>
    part(isAscii ? 'message/rfc822' : 'message/global', '8bit', Buffer.from(message).toString('latin1'));
  // RFC 2045 §6.4: what stands inside is said outside.
  const isWide = [facts.original, facts.report].some((attached) => attached?.some((octet) => octet > 127) === true);
  const notice = [
    headOf(facts, header, identity),
    'Content-Type: multipart/report; report-type=delivery-status;',
    `\tboundary="${boundary}"`,
    ...(isWide ? ['Content-Transfer-Encoding: 8bit'] : []),
    '',
    part('text/plain; charset=utf-8', 'base64', base64(Buffer.from(personText(facts, header)))) +
      part('message/delivery-status', '7bit', statusBlocks(facts)) +
      (facts.original === undefined
        ? part('text/rfc822-headers', plain ? '7bit' : 'base64', plain ? header.toString('latin1') : base64(header))
        : whole(facts.original, plain)) +
      (facts.report === undefined ? '' : whole(facts.report, true)) +
      `--${boundary}--`,
    '',
  ];
  return Buffer.from(notice.join(lineEnd), 'latin1');
}
