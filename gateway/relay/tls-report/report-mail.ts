/** A TLS report as it is sent: compressed, and in a message (RFC 8460 §5). Pure. */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { rfc5322Date } from '../relay-headers.ts';
import type { Reporter } from './report.ts';

export interface ReportFacts {
  /** `2026-11-26`, in UTC. */
  readonly day: string;
  /** Whose mail servers it is about. */
  readonly domain: string;
  readonly reporter: Reporter;
  readonly report: object;
}

/** RFC 8460 §5.2: `application/tlsrpt+gzip`. */
export function compressedReport(report: object): Buffer {
  return gzipSync(JSON.stringify(report));
}

// RFC 2045 §6.8.
const base64Width = 76;

/** RFC 8460 §5.3. The same facts give the same octets. It waives TLS (RFC 8689): what it tells of must not keep it from arriving (RFC 8460 §3). */
export function reportMail({ day, domain, reporter, report }: ReportFacts, to: string, at: number): Buffer {
  const id = createHash('sha256').update(`${day} ${domain} ${reporter.domain} ${to}`).digest('hex').slice(0, 32);
  const boundary = `=_tlsrpt_${id}`;
  const begin = Date.parse(`${day}T00:00:00Z`) / 1_000;
  // RFC 8460 §5.1.
  const file = `${reporter.domain}!${domain}!${begin}!${begin + 86_399}!${id.slice(0, 8)}.json.gz`;
  const encoded = compressedReport(report).toString('base64');
  const lines = encoded.match(new RegExp(`.{1,${base64Width}}`, 'g')) ?? [];
  return Buffer.from(
    [
      `From: ${reporter.contact}`,
      `To: ${to}`,
      `Subject: Report Domain: ${domain} Submitter: ${reporter.domain} Report-ID: <${day}.${id}@${reporter.domain}>`,
      `Date: ${rfc5322Date(at)}`,
      `Message-ID: <${id}@${reporter.domain}>`,
      `TLS-Report-Domain: ${domain}`,
      `TLS-Report-Submitter: ${reporter.domain}`,
      'TLS-Required: No',
      'Auto-Submitted: auto-generated',
      'MIME-Version: 1.0',
      `Content-Type: multipart/report; report-type="tlsrpt";\r\n\tboundary="${boundary}"`,
      '',
      `--${boundary}`,
      'Content-Type: text/plain; charset=us-ascii',
      '',
      `This is an aggregate TLS report (RFC 8460) of ${reporter.organization}: how secure the connections were`,
      `over which ${reporter.domain} brought mail to ${domain} on ${day} (UTC).`,
      '',
      `--${boundary}`,
      'Content-Type: application/tlsrpt+gzip',
      'Content-Transfer-Encoding: base64',
      `Content-Disposition: attachment;\r\n\tfilename="${file}"`,
      '',
      ...lines,
      `--${boundary}--`,
      '',
    ].join('\r\n'),
  );
}
