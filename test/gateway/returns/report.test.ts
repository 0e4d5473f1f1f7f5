import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readReport } from '../../../gateway/returns/report.ts';

const report = (...status: string[]): Buffer =>
  Buffer.from(
    [
      'From: Mail Delivery System <mailer-daemon@far.test>',
      'Content-Type: multipart/report; report-type=delivery-status; boundary=b',
      '',
      '--b',
      'Content-Type: text/plain',
      '',
      'It did not work.',
      '--b',
      'Content-Type: message/delivery-status',
      '',
      ...status,
      '--b',
      'Content-Type: message/rfc822',
      '',
      'From: alice@example.org',
      '',
      'Content-Type: message/delivery-status',
      '',
      'Final-Recipient: rfc822; forged@far.test',
      '--b--',
      '',
    ].join('\r\n'),
  );

const perMessage = ['Reporting-MTA: dns; mx.far.test', 'Original-Envelope-Id: QQ31', ''];
const carol = [
  'Final-Recipient: rfc822; carol@far.test',
  'Action: failed',
  'Status: 5.1.1',
  'Diagnostic-Code: smtp; 550 5.1.1',
  '  no such user',
];

describe('a report', () => {
  it('tells each recipient’s end, what was said, and what to do', () => {
    const late = ['Final-Recipient: rfc822; <dave@far.test>', 'Action: delayed', 'Status: 4.4.1'];
    expect(readReport(report(...perMessage, ...carol, '', ...late))).toMatchObject({
      kind: 'delivery',
      by: 'fields',
      envid: 'QQ31',
      recipients: [
        {
          address: 'carol@far.test',
          action: 'failed',
          status: '5.1.1',
          code: 550,
          said: '550 5.1.1 no such user',
          cause: 'no-such-address',
        },
        { address: 'dave@far.test', action: 'delayed', status: '4.4.1', cause: 'not-reached' },
      ],
    });
  });

  it('is not read out of the copy of the message', () => {
    const found = readReport(report(...perMessage, ...carol));
    expect(JSON.stringify(found)).not.toContain('forged');
  });

  it('in base64 is read too', () => {
    const text = Buffer.from([...perMessage, ...carol, ''].join('\r\n')).toString('base64');
    const lines = ['Content-Type: message/global-delivery-status', 'Content-Transfer-Encoding: base64', '', text];
    expect(readReport(Buffer.from(lines.join('\r\n')))).toMatchObject({ recipients: [{ address: 'carol@far.test' }] });
  });

  it.for([
    ['a letter', 'From: bob@far.test', 'I could not be delivered from this boredom. 550 Fifth Avenue.'],
    ['an answer of a machine that minds a person’s mail', 'From: bob@far.test', 'I am away until Monday.'],
  ] as const)('is not %s', ([, from, text]) => {
    expect(readReport(Buffer.from(`${from}\r\nSubject: Re: hello\r\n\r\n${text}\r\n`))).toEqual({ kind: 'none' });
  });

  it('of anything is an answer, never a throw', () => {
    const pieces = fc.constantFrom(
      ...perMessage,
      ...carol,
      '--b',
      '',
      'Content-Type: message/delivery-status',
      'Return-Path: <>',
      '<a@b>: 550',
      'From: postmaster',
      ' ',
    );
    const text = fc.array(fc.oneof(pieces, fc.string({ maxLength: 40, unit: 'binary' })), { maxLength: 60 });
    fc.assert(
      fc.property(text, (lines) => {
        expect(['delivery', 'complaint', 'none']).toContain(readReport(Buffer.from(lines.join('\n'))).kind);
      }),
    );
  });

  it.for([
    ['one address a hundred thousand times', `Return-Path: <>\n\n${'<a@b.test>: failed\n'.repeat(100_000)}`],
    ['a line without end', `Return-Path: <>\n\n550 ${'a'.repeat(2_000_000)}`],
    ['a field that is folded for ever', `Subject: x\n${' y\n'.repeat(300_000)}\n`],
    [
      'groups without end',
      `Content-Type: message/delivery-status\n\n${'Final-Recipient: rfc822; a@b\n\n'.repeat(100_000)}`,
    ],
    [
      'recipients without an empty line',
      `Content-Type: message/delivery-status\n\n${'Final-Recipient: rfc822; a@b\n'.repeat(100_000)}`,
    ],
    ['at signs', `From: postmaster\n\nundeliverable\n${'a@'.repeat(200_000)}`],
  ] as const)('of %s is bounded', ([, text]) => {
    const found = readReport(Buffer.from(text));
    expect(found.kind === 'delivery' ? found.recipients.length : 0).toBeLessThanOrEqual(1_001);
  });
});
