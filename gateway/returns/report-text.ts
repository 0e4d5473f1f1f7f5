/** What people are told by the systems that write no fields for programs: qmail, Exim, old Sendmail, Exchange, and many of one provider each. Guessing, but bounded. */
import { isBoundary, type ReadBlock } from './report-lines.ts';

export interface TextFailure {
  readonly address: string;
  /** Empty where none was written. */
  readonly status: string;
  readonly code?: number | undefined;
  readonly said: string;
}

/** Begins the copy of the message in the reports of these systems. */
const copyBegins =
  /^(?:-+ ?(?:this is a copy of|below this line is|original message|the (?:header|body|text) of|returned message|message header|unsent message|undelivered message|start of)|--- ?(?:below|undelivered|enclosed)|content-type:\s*(?:message\/rfc822|text\/rfc822-headers)|received: |return-path: |message-id: |original message follows|the following is a copy|your message reads|message text follows|\*+ ?original message)/i;
// The account of what happened is short; a long text is somebody's message.
const maxLines = 400;
const maxFailures = 100;
const words =
  /(?:undeliver|error (?:has )?occurred|error delivering|failed address|failure reason|be delivered to|not be (?:delivered|sent)|could ?n[o']t (?:be )?deliver|unable to deliver|delivery (?:has )?(?:failed|to the following|failure|error|status)|failed delivery|failure notice|returned mail|returning (?:your )?(?:mail|message)|mail (?:delivery )?(?:system|failure|error)|non.?delivery|user unknown|unknown user|not (?:delivered|reach)|did not reach|delivery errors|permanent(?:ly)? (?:fatal )?(?:error|fail)|rejected|bounced?)/i;
const mailbox = /<?([\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w.-]{1,253})>?/;
const from =
  /^(?:mailer-daemon|postmaster|mail delivery|.*(?:mailer-daemon|postmaster|mail delivery|mail administrator|system administrator))/i;

/** None where the message does not look like a bounce. */
export function textReport(lines: readonly string[], header: ReadBlock): readonly TextFailure[] {
  const { fields, next } = header;
  const account = accountOf(lines, next);
  const text = account.join('\n');
  const failedField = fields.get('x-failed-recipients');
  const subject = fields.get('subject') ?? '';
  const bySystem =
    from.test(fields.get('from') ?? '') || fields.get('return-path') === '<>' || failedField !== undefined;
  // Without a word of a failure it is an answer of a person's machine, or a note.
  const tellsOfFailure =
    failedField !== undefined || words.test(text) || words.test(subject) || codeIn(text) !== undefined;
  if (!bySystem || !tellsOfFailure) return [];
  const addresses = addressesIn(account, failedField, fields.get('to') ?? '');
  const whole = failureIn(account);
  return addresses.map((address) => {
    const own = addresses.length < 2 ? whole : failureIn(accountFor(address, addresses, account));
    return { address, ...(own.status === '' && own.code === undefined ? whole : own) };
  });
}

function failureIn(account: readonly string[]): Omit<TextFailure, 'address'> {
  const text = account.join('\n');
  return { status: statusIn(text), code: codeIn(text), said: saidIn(account) };
}

/** From the line that begins with the address to the line that begins with the next. */
function accountFor(address: string, addresses: readonly string[], account: readonly string[]): readonly string[] {
  const begins = (line: string, one: string): boolean => line.trimStart().replace('<', '').startsWith(one);
  const start = account.findIndex((line) => begins(line, address));
  if (start < 0) return [];
  const length = account
    .slice(start + 1)
    .findIndex((line) => addresses.some((other) => other !== address && begins(line, other)));
  return account.slice(start, length < 0 ? undefined : start + 1 + length);
}

function accountOf(lines: readonly string[], from: number): readonly string[] {
  const account: string[] = [];
  for (let at = from; at < lines.length && account.length < maxLines; at++) {
    const line = lines[at] ?? '';
    if (copyBegins.test(line)) break;
    if (isBoundary(line) && /^--[^ ]*$/.test(line)) {
      // Header fields of the parts are no account of anything, except of where the copy begins.
      while (at + 1 < lines.length && /^(?:content-[\w-]+:|[ \t]+[\w-]+=)/i.test(lines[at + 1] ?? '')) {
        at++;
        if (copyBegins.test(lines[at] ?? '')) return account;
      }
      continue;
    }
    account.push(line.slice(0, 1_000));
  }
  return account;
}

/** RFC 3463 in the text: beside a reply code, or in brackets as qmail has it. Permanent ones first: the text may tell of earlier tries. */
function statusIn(text: string): string {
  const found = [...text.matchAll(/(?:\b[245]\d\d[ -]|[(#\s:<[])#?([245]\.\d{1,3}\.\d{1,3})(?![\w.])/g)].map(
    ([, status]) => status ?? '',
  );
  return found.find((status) => status.startsWith('5')) ?? found.find((status) => status.startsWith('4')) ?? '';
}

function codeIn(text: string): number | undefined {
  const found = [...text.matchAll(/(?:^|[\s:<("'#])([45][0-5]\d)(?=[\s\-#,):]|$)/gm)].map(([, code]) => Number(code));
  return found.find((code) => code >= 500) ?? found[0];
}

/** The line that says most: with a code, or of what failed. */
function saidIn(account: readonly string[]): string {
  const coded = account.find((line) => /(?:^|[\s:<(])[45][0-5]\d[\s-]|#?[45]\.\d\.\d/.test(line));
  const spoken = account
    .filter((line) => line.trim() !== '' && words.test(line))
    .slice(0, 3)
    .join(' ');
  return (coded ?? spoken).trim().slice(0, 500);
}

function addressesIn(account: readonly string[], failedField: string | undefined, to: string): readonly string[] {
  if (failedField !== undefined) return failedField.split(',').flatMap(addressIn).slice(0, maxFailures);
  const own = addressIn(to)[0]?.toLowerCase();
  const begins = account
    .filter((line) => /^\s*(?:<[^<>\s@]+@[^<>\s]+>|[^<>\s@"]+@[^<>\s"]+)/.test(line))
    .flatMap(addressIn);
  const any = begins.length > 0 ? begins : account.flatMap(addressIn);
  const others = any.filter(
    (address) => address.toLowerCase() !== own && !/^(?:mailer-daemon|postmaster)@/i.test(address),
  );
  const found = begins.length > 0 ? others : others.slice(0, 1);
  return found.length === 0 ? [''] : [...new Set(found)].slice(0, maxFailures);
}

function addressIn(text: string): readonly string[] {
  const found = mailbox.exec(text.slice(0, 1_000))?.[1];
  return found === undefined ? [] : [found.replace(/\.+$/, '')];
}
