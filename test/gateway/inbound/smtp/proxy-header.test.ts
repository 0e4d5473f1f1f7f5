import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ProxyHeader, readProxyHeader } from '../../../../gateway/inbound/smtp/proxy-header.ts';

const signature = '0d0a0d0a000d0a515549540a';
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const line = (text: string): Buffer => Buffer.from(text, 'latin1');

const rows: readonly [why: string, octets: Buffer, wanted: Partial<ProxyHeader> & { kind: string }][] = [
  [
    'version 1, IPv4',
    line('PROXY TCP4 192.0.2.1 192.0.2.2 1000 25\r\nEHLO x\r\n'),
    { kind: 'header', ip: '192.0.2.1', octets: 40 },
  ],
  [
    'version 1, IPv6',
    line('PROXY TCP6 2001:db8::1 2001:db8::2 1000 25\r\n'),
    { kind: 'header', ip: '2001:db8::1', octets: 44 },
  ],
  ['version 1 of a proxy that does not know', line('PROXY UNKNOWN\r\n'), { kind: 'header', ip: undefined, octets: 15 }],
  [
    'version 1 with an address of the wrong kind',
    line('PROXY TCP4 2001:db8::1 192.0.2.2 1000 25\r\n'),
    { kind: 'invalid' },
  ],
  ['version 1 with a name', line('PROXY TCP4 localhost 192.0.2.2 1000 25\r\n'), { kind: 'invalid' }],
  ['version 1 with a port that is none', line('PROXY TCP4 192.0.2.1 192.0.2.2 1000 99999\r\n'), { kind: 'invalid' }],
  ['version 1 with nothing', line('PROXY \r\n'), { kind: 'invalid' }],
  ['version 1 that does not end', line(`PROXY ${'x'.repeat(200)}`), { kind: 'invalid' }],
  [
    'version 2, IPv4',
    hex(`${signature} 21 11 000c c0000201 c0000202 03e8 0019`),
    { kind: 'header', ip: '192.0.2.1', octets: 28 },
  ],
  [
    'version 2, IPv6, with extras',
    hex(`${signature} 21 21 0028 20010db8000000000000000000000001 20010db8000000000000000000000002 03e8 0019 04000100`),
    { kind: 'header', ip: '2001:db8:0:0:0:0:0:1', octets: 56 },
  ],
  [
    'version 2 of a proxy for itself (LOCAL)',
    hex(`${signature} 20 00 0000`),
    { kind: 'header', ip: undefined, octets: 16 },
  ],
  ['version 2 over a Unix socket', hex(`${signature} 21 31 0000`), { kind: 'header', ip: undefined, octets: 16 }],
  ['version 2 with too few octets for its addresses', hex(`${signature} 21 11 0004 c0000201`), { kind: 'invalid' }],
  ['version 3', hex(`${signature} 31 11 000c c0000201 c0000202 03e8 0019`), { kind: 'invalid' }],
  [
    'version 2 with an unknown command',
    hex(`${signature} 22 11 000c c0000201 c0000202 03e8 0019`),
    { kind: 'invalid' },
  ],
  ['version 2 with extras without end', hex(`${signature} 21 11 ffff`), { kind: 'invalid' }],
  ['no header at all', line('EHLO x\r\n'), { kind: 'invalid' }],
];

describe('the PROXY protocol', () => {
  it.for(rows)('%s', ([, octets, wanted]) => {
    expect(readProxyHeader(octets)).toEqual(wanted);
    // However little of it is there, it is either not all there or already known to be none.
    for (let end = 0; end < octets.length; end += 1) {
      const part = readProxyHeader(octets.subarray(0, end));
      if (part.kind === 'header') expect(part).toEqual(wanted);
      else if (part.kind === 'invalid') expect(wanted.kind).toBe('invalid');
    }
  });

  it('any octets are something', () => {
    const start = fc.constantFrom(Buffer.alloc(0), line('PROXY TCP4 '), hex(signature), hex(`${signature}2111`));
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 200 }), (first, rest) => {
        expect(readProxyHeader(Buffer.concat([first, rest])).kind).toMatch(/^(?:header|more|invalid)$/);
      }),
    );
  });
});
