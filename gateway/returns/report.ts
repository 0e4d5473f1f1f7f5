/**
 * Bounces of other systems, read: which recipients failed, how, and what was said. First the fields that are made for programs (RFC 3464), then, for the many
 * systems that write none, the text that they wrote for people.
 */
import { adviceOn, type Cause, causeOf } from './cause.ts';
import { isBoundary, latinLines, readBlock, type TextBlock } from './report-lines.ts';
import { statusGroups } from './report-status.ts';
import { textReport } from './report-text.ts';

export interface ReportedRecipient {
  /** As the reporting host wrote it; empty where it named none. */
  readonly address: string;
  readonly action: 'failed' | 'delayed' | 'delivered' | 'relayed' | 'expanded';
  /** RFC 3463; empty where there is none. */
  readonly status: string;
  /** SMTP reply code; undefined where none was told. */
  readonly code?: number | undefined;
  /** What the last host said, in one line. */
  readonly said: string;
  readonly remoteMta?: string | undefined;
  readonly cause: Cause;
  /** What happened and what to do, for people. */
  readonly advice: string;
}

export type Report =
  | {
      readonly kind: 'delivery';
      /** By fields for programs, or guessed from the text. */
      readonly by: 'fields' | 'text';
      readonly recipients: readonly ReportedRecipient[];
      readonly envid?: string | undefined;
      /** Header of the message that failed, as far as it came back; empty where it did not. */
      readonly original: Uint8Array;
    }
  /** Somebody pressed "this is spam" (RFC 5965). */
  | { readonly kind: 'complaint'; readonly feedback: string }
  | { readonly kind: 'none' };

/** A report is a few KiB before the copy of the message; what lies behind this is not looked at. */
export const maxReportBytes = 512 * 1024;

/** Never throws; linear in the first 512 KiB. */
export function readReport(message: Uint8Array): Report {
  const lines = latinLines(message.subarray(0, maxReportBytes));
  const header = readBlock(lines, 0);
  const type = header.fields.get('content-type') ?? '';
  if (/report-type\s*=\s*"?feedback-report/i.test(type)) return complaint(lines, header.next);
  const groups = statusGroups(lines, header.next);
  const recipients = groups.flatMap(recipientOf);
  if (recipients.length > 0) {
    const envid = groups.map((group) => group.get('original-envelope-id')).find((id) => id !== undefined);
    return { kind: 'delivery', by: 'fields', recipients, envid, original: originalHeader(lines, header.next) };
  }
  const guessed = textReport(lines, header);
  if (guessed.length === 0) return { kind: 'none' };
  return {
    kind: 'delivery',
    by: 'text',
    original: originalHeader(lines, header.next),
    recipients: guessed.map(({ address, status, code, said }) => {
      const temporary = status === '' ? (code ?? 500) < 500 : status.startsWith('4');
      const action = temporary ? 'delayed' : 'failed';
      return { address, action, status, code, said, ...understood(status, said) };
    }),
  };
}

const actions: ReadonlySet<string> = new Set(['failed', 'delayed', 'delivered', 'relayed', 'expanded']);
const isAction = (word: string): word is ReportedRecipient['action'] => actions.has(word);

/** RFC 3464 §2.3. A group without a recipient is not about one. */
function recipientOf(group: TextBlock): readonly ReportedRecipient[] {
  const named = group.get('final-recipient') ?? group.get('original-recipient');
  if (named === undefined) return [];
  // RFC 3464 §2.1.2: `type; address`. Some hosts write brackets around it.
  const address = named.slice(named.indexOf(';') + 1).replaceAll(/^[\s<]+|[\s>]+$/g, '');
  const status = /[245]\.\d{1,3}\.\d{1,3}/.exec(group.get('status') ?? '')?.[0] ?? '';
  const said = (group.get('diagnostic-code') ?? '').replace(/^[\w-]{1,40}\s*;\s*/, '');
  const word = /^\s*([a-z]+)/i.exec(group.get('action') ?? '')?.[1]?.toLowerCase() ?? '';
  const action = isAction(word) ? word : status.startsWith('4') ? 'delayed' : 'failed';
  const code = /(?:^|[\s:#(])([245]\d\d)(?=[\s-]|$)/.exec(said)?.[1];
  const remoteMta = group.get('remote-mta')?.replace(/^[\w-]{1,40}\s*;\s*/, '');
  return [
    {
      address,
      action,
      status,
      code: code === undefined ? undefined : Number(code),
      said,
      remoteMta,
      ...understood(status, said),
    },
  ];
}

function understood(status: string, said: string): Pick<ReportedRecipient, 'cause' | 'advice'> {
  const cause = causeOf(status, said);
  return { cause, advice: adviceOn(cause) };
}

function complaint(lines: readonly string[], from: number): Report {
  const at = lines.findIndex((line, index) => index >= from && /^feedback-type:/i.test(line));
  return { kind: 'complaint', feedback: at < 0 ? '' : (lines[at] ?? '').slice('feedback-type:'.length).trim() };
}

// RFC 3464 returns the header for recognition.
const maxOriginalLines = 500;

/** Of the first part that is the message, or its header (RFC 3462 §2). */
function originalHeader(lines: readonly string[], from: number): Uint8Array {
  const part = lines.findIndex(
    (line, index) =>
      index >= from && /^content-type:\s*(?:message\/(?:global|rfc822)|text\/rfc822-headers)/i.test(line),
  );
  if (part < 0) return new Uint8Array();
  const start = lines.findIndex((line, index) => index > part && line.trim() === '') + 1;
  if (start === 0) return new Uint8Array();
  const rest = lines.slice(start, start + maxOriginalLines);
  const end = rest.findIndex((line) => line === '' || isBoundary(line));
  const kept = end < 0 ? rest : rest.slice(0, end);
  return Buffer.from(kept.map((line) => `${line}\r\n`).join(''), 'latin1');
}
