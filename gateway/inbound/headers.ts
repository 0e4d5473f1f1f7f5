import { parseDomain } from '../../policy/address.ts';
import type { Evidence } from '../../policy/evidence.ts';
import { fieldText, type HeaderBlock, type HeaderField, readHeaderBlock } from '../header-fields.ts';

/** What the fields on top of a message say. Everything here is written so that no stranger's text can add a field. */
export interface TraceFacts {
  readonly trace: string;
  readonly at: number;
  readonly hostname: string;
  readonly evidence: Pick<Evidence, 'client' | 'tls' | 'envelope' | 'author' | 'spf' | 'dkim' | 'dmarc' | 'arc'>;
  /** ESMTP, ESMTPS, SMTP, UTF8SMTP … (RFC 3848, RFC 6531 §4.3). */
  readonly protocol: string;
}

/** A message and the names of the fields that were taken out of it. */
export interface Cleaned {
  readonly parts: readonly Uint8Array[];
  readonly removed: readonly string[];
}

/**
 * The message without fields that claim to be ours; all other octets stay as they are. A signature of the sender that covers such a field is judged
 * before this, on what came, and holds no more on what is kept: RFC 8601 §5 wants the field gone all the same, since a reader believes it, and the
 * result is in our own field and in the provenance.
 */
export function withoutForgeries(
  message: Uint8Array,
  hostname: string,
  { fields }: HeaderBlock = readHeaderBlock(message),
): Cleaned {
  const parts: Uint8Array[] = [];
  const removed: string[] = [];
  let from = 0;
  for (const field of fields) {
    if (!claimsToBeOurs(message, field, hostname)) continue;
    removed.push(field.name);
    if (field.start > from) parts.push(message.subarray(from, field.start));
    from = field.end;
  }
  parts.push(message.subarray(from));
  return { parts, removed };
}

function claimsToBeOurs(message: Uint8Array, field: HeaderField, hostname: string): boolean {
  if (field.name.startsWith('x-epost-')) return true;
  if (field.name !== 'authentication-results') return false;
  // RFC 8601 §5: fields with our authserv-id must go. Comments and a version may stand around it, and a reader that
  // skips them would believe it; so any mention before the first result counts.
  const id = fieldText(message, field, 1000).split(';')[0] ?? '';
  return id.toLowerCase().includes(hostname.toLowerCase());
}

/** Our fields and the message, in parts that follow on each other, ready to be handed on. */
export function withTraceFields(message: Uint8Array, header: HeaderBlock, facts: TraceFacts): Cleaned {
  const fields = [returnPath(facts), received(facts), authenticationResults(facts), `${lastField}: ${facts.trace}`];
  const { parts, removed } = withoutForgeries(message, facts.hostname, header);
  return { parts: [Buffer.from(`${fields.join('\r\n')}\r\n`), ...parts], removed };
}

const lastField = 'X-ePOST-Trace';

/** What lies below the fields that {@link withTraceFields} put on top: the message as it came, but for what was taken out. */
export function belowTraceFields(handedOn: Uint8Array): Uint8Array {
  const last = readHeaderBlock(handedOn).fields.find(({ name }) => name === lastField.toLowerCase());
  return handedOn.subarray(last?.end ?? 0);
}

/** RFC 5321 §4.4: the reverse-path, by the server that makes the final delivery. */
function returnPath({ evidence }: TraceFacts): string {
  return `Return-Path: <${visible(evidence.envelope.from)}>`;
}

/** RFC 5321 §4.4 time-stamp-line, with the TLS facts as a comment (RFC 8314 §4.3 leaves their form open). */
function received({ evidence, trace, at, hostname, protocol }: TraceFacts): string {
  const { client, tls, envelope } = evidence;
  const [recipient] = envelope.recipients;
  const lines = [
    `Received: from ${heloName(client.helo)} (${client.name === '' ? '' : `${client.name} `}[${addressLiteral(client.ip)}])`,
    `by ${hostname} (ePOST) with ${protocol} id ${trace}`,
    ...(tls.used ? [`(${comment(`${tls.version} ${tls.cipher}`)})`] : []),
    // Only where there is one, so that nobody learns of other recipients.
    ...(envelope.recipientCount === 1 && recipient !== undefined ? [`for <${visible(recipient)}>`] : []),
  ];
  return `${lines.join('\r\n\t')};\r\n\t${dateTime(at)}`;
}

/** RFC 8601 §2.2, with the results as they were used for the decision. */
function authenticationResults({ evidence, hostname }: TraceFacts): string {
  const { spf, dkim, dmarc, arc, client, author } = evidence;
  const results = [
    `spf=${keyword(spf.result)}${property('smtp.mailfrom', spf.domain)}`,
    ...(dkim.domains.length > 0
      ? dkim.domains.slice(0, 5).map((domain) => `dkim=pass${property('header.d', domain)}`)
      : [`dkim=${keyword(dkim.result)}`]),
    // RFC 8601 §2.7.2 with RFC 9989 §5.3.1: without one author there is nothing that could be evaluated.
    author.kind === 'single'
      ? `dmarc=${keyword(dmarc.result)}${property('header.from', author.domain)} (p=${dmarc.policy})`
      : 'dmarc=permerror',
    ...(arc.result === 'none' ? [] : [`arc=${keyword(arc.result)}${property('header.d', arc.sealer)}`]),
    `iprev=${keyword(client.iprev)} policy.iprev=${addressValue(client.ip)}`,
  ];
  return `Authentication-Results: ${[hostname, ...results].join(';\r\n\t')}`;
}

/** Our three-valued results in the words of RFC 8601 §2.7. */
function keyword(result: string): string {
  return result === 'unknown' ? 'temperror' : result;
}

/** A property whose value can only be a domain name. */
function property(name: string, domain: string): string {
  const value = parseDomain(domain);
  return value === undefined ? '' : ` ${name}=${value}`;
}

function heloName(helo: string): string {
  return /^[a-z0-9._:[\]-]{1,255}$/i.test(helo) ? helo : 'invalid';
}

function addressLiteral(ip: string): string {
  return ip.includes(':') ? `IPv6:${ip}` : ip;
}

/** RFC 8601 §2.2: a value with a colon has to be quoted. */
function addressValue(ip: string): string {
  return ip.includes(':') ? `"${ip}"` : ip;
}

function comment(text: string): string {
  return text.replace(/[^\w .:-]/g, '').trim();
}

// An address comes here parsed, but this is where a line end would become a field.
function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}<>]/gu, '');
}

/** RFC 5322 §3.3. */
function dateTime(at: number): string {
  return new Date(at).toUTCString().replace('GMT', '+0000');
}
