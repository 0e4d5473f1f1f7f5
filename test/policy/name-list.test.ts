import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NameList } from '../../policy/name-list.ts';
import { parseNetwork } from '../../policy/network.ts';

const list = new NameList([
  'exact.example',
  '.below.example',
  '@whole.example',
  'someone@mail.example',
  '192.0.2.7',
  '198.51.100.0/24',
  '2001:db8::/32',
  '203.0.113.128/25',
]);

const rows: readonly [why: string, value: string, holds: boolean][] = [
  ['a name stands for itself', 'exact.example', true],
  ['in any case', 'EXACT.Example', true],
  ['and for nothing below it', 'a.exact.example', false],
  ['a dot in front stands for all below', 'a.b.below.example', true],
  ['not for the name itself', 'below.example', false],
  ['and not for a name that only ends alike', 'notbelow.example', false],
  ['an @ in front stands for every address there', 'x@whole.example', true],
  ['not for addresses below it', 'x@a.whole.example', false],
  ['an address stands for itself', 'Someone@mail.example', true],
  ['not for its domain', 'mail.example', false],
  ['an address after a quoted @ is read by its last @', '"a@whole.example"@other.example', false],
  ['an IP address stands for itself', '192.0.2.7', true],
  ['not for its neighbour', '192.0.2.8', false],
  ['a network holds its addresses', '198.51.100.255', true],
  ['and no others', '198.51.101.0', false],
  ['half a network is half', '203.0.113.127', false],
  ['and the other half', '203.0.113.200', true],
  ['a network holds its subnets', '198.51.100.128/25', true],
  ['but not what it lies in', '198.51.0.0/16', false],
  ['IPv6 networks work alike', '2001:db8:ffff::1', true],
  ['and end where they end', '2001:db9::1', false],
  ['an IPv4 address in IPv6 clothes is that address', '::ffff:192.0.2.7', true],
  ['an empty value is in no list', '', false],
];

test.each(rows)('%s: %s', (_why, value, holds) => {
  expect(list.has(value)).toBe(holds);
});

test('nothing is in an empty list', () => {
  const empty = new NameList([]);
  fc.assert(fc.property(fc.string(), (value) => !empty.has(value)));
});

describe('networks', () => {
  const bad = [
    '',
    '1.2.3',
    '1.2.3.256',
    '1.2.3.4/33',
    '1.2.3.4/',
    '1.2.3.4/8/8',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '::g',
    '1.2.3.4::',
    '1:2:3:4:5:6:7::8',
    '::1.2.3',
    'example.org',
  ];
  test.each(bad)('%s is none', (text) => {
    expect(parseNetwork(text)).toBeUndefined();
  });

  test('what the platform takes for an address, this does too, and as the same one', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const parsed = parseNetwork(text);
        expect(parsed).toBeDefined();
        // The URL parser writes IPv6 in the one canonical form of RFC 5952.
        const canonical = text.includes(':') ? new URL(`http://[${text}]/`).hostname.slice(1, -1) : text;
        expect(parseNetwork(canonical)).toEqual(parsed);
      }),
    );
  });

  test('an address is in every network around it', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 0, max: 32 }), (address, prefix) => {
        expect(new NameList([`${address}/${prefix}`]).has(address)).toBe(true);
      }),
    );
  });
});
