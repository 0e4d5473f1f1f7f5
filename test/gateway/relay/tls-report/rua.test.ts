import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reportDestinations } from '../../../../gateway/relay/tls-report/rua.ts';

const shown = (...records: string[][]): string[] =>
  reportDestinations(records).map((one) => (one.kind === 'mailto' ? one.address : one.url.href));

describe('whom a domain wants its reports sent to (RFC 8460 §3)', () => {
  const rows: readonly [why: string, records: string[][], wanted: string[]][] = [
    ['a mailbox', [['v=TLSRPTv1; rua=mailto:tls@dest.example']], ['tls@dest.example']],
    ['a record in pieces', [['v=TLSRPTv1;', 'rua=mail', 'to:tls@dest.example']], ['tls@dest.example']],
    ['an address over HTTPS', [['v=TLSRPTv1;rua=https://r.example/v1/x?a=b']], ['https://r.example/v1/x?a=b']],
    [
      'several, in order',
      [['v=TLSRPTv1; rua=https://r.example/ , mailto:a@b.example;']],
      ['https://r.example/', 'a@b.example'],
    ],
    ['escaped characters are read (RFC 6068)', [['v=TLSRPTv1; rua=mailto:a%2Bb@c.example']], ['a+b@c.example']],
    [
      'what a mailto says beside the address counts for nothing',
      [['v=TLSRPTv1; rua=mailto:a@b.example?bcc=c@d.example']],
      ['a@b.example'],
    ],
    [
      'other records of the name are passed over',
      [['v=spf1 -all'], ['v=TLSRPTv1; rua=mailto:a@b.example']],
      ['a@b.example'],
    ],
    ['two records are none', [['v=TLSRPTv1; rua=mailto:a@b.example'], ['v=TLSRPTv1; rua=mailto:c@d.example']], []],
    ['another version is none', [['v=TLSRPTv2; rua=mailto:a@b.example']], []],
    ['without rua nobody is', [['v=TLSRPTv1;']], []],
    ['nobody is asked in clear', [['v=TLSRPTv1; rua=http://r.example/']], []],
    ['nor by address', [['v=TLSRPTv1; rua=https://192.0.2.1/,https://[2001:db8::1]/']], []],
    ['nor with a password', [['v=TLSRPTv1; rua=https://u:p@r.example/']], []],
    ['what is no address is none', [['v=TLSRPTv1; rua=mailto:nobody,mailto:a@b%0d%0aX: y,mailto:%ff@b.example']], []],
    [
      'no more than three',
      [[`v=TLSRPTv1; rua=${['a', 'b', 'c', 'd'].map((name) => `mailto:${name}@b.example`).join(',')}`]],
      ['a@b.example', 'b@b.example', 'c@b.example'],
    ],
  ];
  it.each(rows)('%s', (_why, records, wanted) => {
    expect(shown(...records)).toEqual(wanted);
  });

  it('whatever a domain publishes', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), (strings) => {
        reportDestinations([['v=TLSRPTv1; rua=', ...strings]]);
      }),
    );
  });
});
