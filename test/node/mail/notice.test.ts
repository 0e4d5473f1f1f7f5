import fc from 'fast-check';
import { simpleParser } from 'mailparser';
import { describe, expect, it } from 'vitest';
import { buildNotice, type NoticeFacts } from '../../../node/mail/notice.ts';
import { octets } from './messages.ts';

const facts: NoticeFacts = {
  reportingMta: 'mx.example.org',
  sender: 'alice@example.org',
  recipients: [
    {
      address: 'carol@example.net',
      action: 'failed',
      status: '5.1.1',
      diagnostic: 'smtp; 550 5.1.1 <carol@example.net>: no such user',
      remoteMta: 'mx.example.net',
      text: 'There is no such mailbox. Check the address – maybe it has a typing mistake.',
    },
    { address: 'dörte@example.net', action: 'delayed', status: '4.4.1', text: 'Their server does not answer.' },
  ],
  originalHeader: octets(
    'Received: from x',
    '\tby y',
    'Message-ID: <m1@example.org>',
    'Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=',
    ' =?utf-8?b?IGF1cw==?= Wien',
    'From: alice@example.org',
    '',
    'SECRET BODY',
  ),
  envid: 'QQ314159',
  arrivedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  now: Date.UTC(2026, 0, 2, 7, 4, 5),
  traceId: 'T-1',
};

function lines(notice: Uint8Array): readonly string[] {
  return Buffer.from(notice).toString('latin1').split('\r\n');
}

function part(notice: Uint8Array, type: string): string {
  const whole = Buffer.from(notice).toString('latin1');
  const start = whole.indexOf('\r\n\r\n', whole.indexOf(`Content-Type: ${type}`)) + 4;
  return whole.slice(start, whole.indexOf('\r\n--=_epost_', start));
}

describe('a notice', () => {
  it('tells programs what happened, field by field (RFC 3464)', () => {
    expect(part(buildNotice(facts), 'message/delivery-status').split('\r\n')).toEqual([
      'Original-Envelope-Id: QQ314159',
      'Reporting-MTA: dns; mx.example.org',
      'Arrival-Date: Fri, 02 Jan 2026 03:04:05 +0000',
      'X-ePOST-Trace: T-1',
      '',
      'Final-Recipient: rfc822; carol@example.net',
      'Action: failed',
      'Status: 5.1.1',
      'Remote-MTA: dns; mx.example.net',
      'Diagnostic-Code: smtp; 550 5.1.1 <carol@example.net>: no such user',
      'Last-Attempt-Date: Fri, 02 Jan 2026 07:04:05 +0000',
      '',
      'Final-Recipient: utf-8; d\\x{F6}rte@example.net',
      'Action: delayed',
      'Status: 4.4.1',
      'Last-Attempt-Date: Fri, 02 Jan 2026 07:04:05 +0000',
      '',
    ]);
  });

  it('tells people in words, and answers no automatic mail', async () => {
    const mail = await simpleParser(Buffer.from(buildNotice(facts)));
    expect(mail.subject).toBe('Your message could not be delivered');
    expect(mail.from?.value).toEqual([{ address: 'mailer-daemon@example.org', name: 'Mail delivery' }]);
    expect(mail.to).toMatchObject({ value: [{ address: 'alice@example.org' }] });
    expect(mail.headers.get('auto-submitted')).toBe('auto-replied');
    expect(mail.references).toBe('<m1@example.org>');
    expect(mail.inReplyTo).toBe('<m1@example.org>');
    expect(mail.date?.getTime()).toBe(facts.now);
    expect(mail.headers.get('content-type')).toMatchObject({
      value: 'multipart/report',
      params: { 'report-type': 'delivery-status' },
    });
    expect(mail.text).toContain('your message "Grüße aus Wien" of Fri, 02 Jan 2026 03:04:05 +0000');
    expect(mail.text).toContain('Check the address – maybe');
    expect(mail.text).toContain('The other side said: smtp; 550 5.1.1');
    expect(mail.text).toContain('T-1');
  });

  it('carries the header of the message and nothing of its body', () => {
    const notice = buildNotice(facts);
    expect(part(notice, 'text/rfc822-headers')).toContain(
      'Received: from x\r\n\tby y\r\nMessage-ID: <m1@example.org>\r\n',
    );
    expect(lines(notice).join('\n')).not.toContain('SECRET BODY');
  });

  it.each([
    ['as it is', 'Subject: hi\r\n\r\nbody\r\n', 'message/rfc822', undefined],
    ['and says that there are octets beyond ASCII', 'Subject: hi\r\n\r\nb\u00f6dy\r\n', 'message/rfc822', '8bit'],
    [
      'as a global one where its header has such (RFC 6533)',
      'Subject: h\u00ef\r\n\r\nbody\r\n',
      'message/global',
      '8bit',
    ],
  ] as const)('carries all of the message where it is given, %s', (_why, message, type, encoding) => {
    const original = Buffer.from(message);
    const notice = buildNotice({ ...facts, originalHeader: original, original });
    expect(part(notice, type)).toBe(original.toString('latin1'));
    const [head = ''] = Buffer.from(notice).toString('latin1').split('\r\n\r\n');
    expect(/^Content-Transfer-Encoding: (.+)$/m.exec(head)?.[1]).toBe(encoding);
    expect(Buffer.from(notice).toString()).not.toContain('text/rfc822-headers');
  });

  it('is bounded however long the header is, and ends it at a line', () => {
    const header = octets(...Array.from({ length: 5_000 }, (_, i) => `X-${i}: ${'y'.repeat(60)}`));
    const notice = buildNotice({ ...facts, originalHeader: header });
    expect(notice.length).toBeLessThan(80_000);
    expect(part(notice, 'text/rfc822-headers')).toMatch(/y{60}\r\n$/);
  });

  it.each([
    ['only delayed', 'delayed', 'Your message is delayed'],
    ['delivered', 'delivered', 'Your message was delivered'],
  ] as const)('says so where it is %s', async (_why, action, subject) => {
    const [one] = facts.recipients;
    const recipients = one === undefined ? [] : [{ ...one, action }];
    expect((await simpleParser(Buffer.from(buildNotice({ ...facts, recipients })))).subject).toBe(subject);
  });

  it('of the same facts is the same message', () => {
    expect(buildNotice(facts)).toEqual(buildNotice({ ...facts }));
  });

  it('is clean whatever strangers wrote: ASCII, CRLF, short lines, three parts, no field of theirs', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.constantFrom('a\r\nBcc: x', 'é\r\n\r\n--', '<a@b>'),
    );
    await fc.assert(
      fc.asyncProperty(
        text,
        text,
        text,
        fc.uint8Array({ maxLength: 300 }),
        async (address, diagnostic, sender, header) => {
          const notice = buildNotice({
            ...facts,
            sender,
            envid: diagnostic,
            traceId: diagnostic,
            recipients: [
              { address, action: 'failed', status: diagnostic, diagnostic, remoteMta: address, text: 'It failed.' },
            ],
            originalHeader: Buffer.concat([
              Buffer.from(`Subject: ${diagnostic}\r\nMessage-ID: ${address}\r\n`),
              header,
            ]),
          });
          const all = lines(notice);
          expect(Buffer.from(notice).every((octet) => octet < 128)).toBe(true);
          expect(all.every((line) => line.length <= 998 && !/[\r\n]/.test(line))).toBe(true);
          expect(all.filter((line) => line.startsWith('--=_epost_'))).toHaveLength(4);
          const head = all.slice(0, all.indexOf(''));
          expect(head.filter((line) => /^bcc/i.test(line))).toEqual([]);
          const status = part(notice, 'message/delivery-status').split('\r\n');
          expect(status.filter((line) => line.startsWith('Status:'))).toHaveLength(1);
          expect(status.filter((line) => line === '')).toHaveLength(2);
          await simpleParser(Buffer.from(notice));
        },
      ),
      { numRuns: 100 },
    );
  });
});
