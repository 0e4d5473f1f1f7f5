/** A bounce of another system that came back to a return path of ours becomes a notice: what happened and what to do, with the report attached. */
import type { Address } from '../../policy/address.ts';
import { fieldText, readHeaderBlock } from '../header-fields.ts';
import type { NoticeFacts } from '../relay/notice.ts';
import { type Report, readReport } from '../returns/report.ts';

export interface ReturnedReport {
  readonly bytes: Uint8Array;
  readonly recipient: Address;
  readonly receivedAt: number;
  readonly trace: string;
}

type Delivery = Extract<Report, { kind: 'delivery' }>;

/** Larger ones are delivered as they are: a notice is for reading. */
const maxAttachedBytes = 1024 * 1024;

/** What to tell the sender, or undefined where the report has no fields for programs: its own text then says more than we could. */
export function noticeOfReport(
  { bytes, recipient, receivedAt, trace }: ReturnedReport,
  hostname: string,
): { readonly facts: NoticeFacts; readonly report: Delivery } | undefined {
  if (bytes.length > maxAttachedBytes) return undefined;
  const report = readReport(bytes);
  if (report.kind !== 'delivery' || report.by !== 'fields') return undefined;
  const facts: NoticeFacts = {
    reportingMta: hostname,
    sender: recipient,
    recipients: report.recipients.map(({ address, action, status, said, remoteMta, advice }) => ({
      address,
      action: action === 'expanded' ? 'delivered' : action,
      status: status === '' ? (action === 'delayed' ? '4.0.0' : '5.0.0') : status,
      diagnostic: said === '' ? undefined : `smtp; ${said}`,
      remoteMta,
      text: action === 'failed' || action === 'delayed' ? advice : `It was ${action} there.`,
    })),
    originalHeader: report.original,
    envid: report.envid,
    arrivedAt: receivedAt,
    now: receivedAt,
    traceId: trace,
    report: bytes,
  };
  return { facts, report };
}

/** The trace id under which this host sent the message that came back, by its own Received field; undefined where it does not stand there. */
export function traceOfOriginal(original: Uint8Array, hostname: string): string | undefined {
  for (const field of readHeaderBlock(original).fields) {
    if (field.name !== 'received') continue;
    const [, host, id] =
      /\sby\s(\S+)\s.{0,200}?\bid ([A-Za-z0-9-]{1,64})\b/.exec(fieldText(original, field, 1_000)) ?? [];
    if (host === hostname) return id;
  }
  return undefined;
}
