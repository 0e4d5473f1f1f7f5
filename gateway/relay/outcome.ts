/** What became of one recipient, and how replies of mail servers are read (RFC 5321 §4.2, RFC 3463). Pure. */

export type Outcome =
  | {
      readonly kind: 'delivered';
      readonly at: number;
      readonly host: string;
      readonly reply: string;
      /** The host reports what was asked for (RFC 3461 §5.2.1); else nobody will but us. */
      readonly takesDsn: boolean;
    }
  | {
      readonly kind: 'later';
      readonly at: number;
      readonly host?: string;
      readonly status: string;
      readonly reply: string;
    }
  | {
      readonly kind: 'never';
      readonly at: number;
      readonly host?: string;
      readonly status: string;
      readonly reply: string;
      /** The host said it of this recipient, and not of the message or the session. */
      readonly ofAddress?: true;
    };

/** Enough for every honest reply, several lines included; what is longer is kept out of logs and notices. */
const maxReplyChars = 1500;

export function shortReply(reply: string): string {
  const text = reply
    .replace(/[\r\n]+/g, ' / ')
    .replace(/[^\P{Cc}\t]/gu, '?')
    .trim();
  return text.length > maxReplyChars ? `${text.slice(0, maxReplyChars)}…` : text;
}

/** The enhanced status code in a reply, or the generic one of its class. */
export function statusOf(reply: string, permanent: boolean): string {
  const found = /^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})(?:\s|$)/.exec(reply)?.[1];
  // RFC 2034 §4: the class must agree with the reply code; we may also have decided otherwise than the host.
  if (found?.startsWith(permanent ? '5' : '4')) return found;
  return permanent ? '5.0.0' : '4.0.0';
}

/** Whether a reply code says no for good. */
export function isPermanent(code: number, command: 'RCPT' | 'other'): boolean {
  // RFC 5321 §4.5.3.1.10: 552 for RCPT means too many recipients, which is temporary. 503: the session is out of step, not the message wrong.
  if (code === 503 || (code === 552 && command === 'RCPT')) return false;
  return code >= 500 && code <= 599;
}
