import { describe, expect, it } from 'vitest';
import { parseAddress, parseLiteral, parseLiteralAddress } from '../../policy/address.ts';

describe('an address literal (RFC 5321 §4.1.3)', () => {
  it.each([
    ['[192.0.2.1]', '192.0.2.1'],
    ['[IPv6:2001:DB8::1]', '2001:db8::1'],
    ['[ipv6:::ffff:192.0.2.1]', '::ffff:c000:201'],
    ['[2001:db8::1]', undefined],
    ['[IPv6:192.0.2.1]', undefined],
    ['[192.0.2]', undefined],
    ['[192.0.2.256]', undefined],
    ['[192.0.2.01]', undefined],
    ['[192.0.2.1.]', undefined],
    ['[IPv6:2001:db8::g]', undefined],
    ['[IPv6:2001:db8:::1]', undefined],
    ['[192.0.2.1', undefined],
    ['192.0.2.1', undefined],
    ['[x:192.0.2.1]', undefined],
    ['[192.0.2.1]x', undefined],
    ['', undefined],
  ])('%s is %s', (text, wanted) => {
    expect(parseLiteral(text)).toBe(wanted);
  });

  it('keeps the local part as written, if it is one, and is no address for anything else', () => {
    expect(parseLiteralAddress('Bob.X@[192.0.2.1]')).toBe('Bob.X@[192.0.2.1]');
    expect(parseLiteralAddress('b@[ipv6:2001:DB8::1]')).toBe('b@[IPv6:2001:db8::1]');
    for (const text of ['@[192.0.2.1]', 'a b@[192.0.2.1]', 'a@b@[192.0.2.1]', 'a@example.org', '[192.0.2.1]'])
      expect(parseLiteralAddress(text)).toBeUndefined();
    expect(parseAddress('b@[192.0.2.1]').kind).toBe('invalid');
  });
});
