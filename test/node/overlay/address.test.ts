import { describe, expect, it } from 'vitest';
import { networkOf, reachOf } from '../../../node/overlay/address.ts';
import { DialPlaces } from '../../../node/overlay/dial-places.ts';

describe('the place that a multiaddr names', () => {
  it.each([
    ['/ip4/203.0.114.7/tcp/7525', 'public'],
    ['/ip6/2a00:1450::1/tcp/7525', 'public'],
    ['/ip4/127.0.0.1/tcp/1', 'loopback'],
    ['/ip4/127.9.9.9/tcp/1', 'loopback'],
    ['/ip6/::1/tcp/1', 'loopback'],
    ['/ip4/10.1.2.3/tcp/1', 'private'],
    ['/ip4/172.31.0.1/tcp/1', 'private'],
    ['/ip4/172.32.0.1/tcp/1', 'public'],
    ['/ip4/192.168.1.1/tcp/1', 'private'],
    ['/ip4/100.64.0.1/tcp/1', 'private'],
    ['/ip6/fd00::1/tcp/1', 'private'],
    ['/dns4/node.example.org/tcp/1', 'name'],
    ['/ip4/169.254.169.254/tcp/80', 'never'],
    ['/ip6/fe80::1/tcp/1', 'never'],
    ['/ip4/0.0.0.0/tcp/1', 'never'],
    ['/ip4/224.0.0.1/tcp/1', 'never'],
    ['/ip4/255.255.255.255/tcp/1', 'never'],
    ['/ip6/::ffff:127.0.0.1/tcp/1', 'loopback'],
    ['/ip6/64:ff9b::7f00:1/tcp/1', 'never'],
    ['/ip4/203.0.114.7/tcp/0', 'never'],
    ['/ip4/203.0.114.7/udp/53', 'never'],
    ['/ip4/203.0.114.7/tcp/80/ws', 'never'],
    ['/dnsaddr/example.org', 'never'],
    ['/unix/%2Fvar%2Frun%2Fdocker.sock', 'never'],
  ])('%s is %s', (address, reach) => {
    expect(reachOf(address)).toBe(reach);
  });

  it.each([
    [['/ip4/203.0.114.7/tcp/1'], '203.0.114'],
    [['/ip4/10.0.0.1/tcp/1', '/ip4/203.0.114.7/tcp/1'], '203.0.114'],
    [['/ip6/2a00:1450:4001:830::200e/tcp/1'], '2a00:1450:4001'],
    [['/ip6/2a00::1/tcp/1'], '2a00:0:0'],
    [['/ip4/10.0.0.1/tcp/1', '/dns4/a.example/tcp/1'], undefined],
    [[], undefined],
  ])('%j stands in the network %s', (addresses, network) => {
    expect(networkOf(addresses)).toBe(network);
  });
});

describe('what is dialled of what a record claims', () => {
  const claims = [
    '/ip4/127.0.0.1/tcp/22',
    '/ip4/192.168.0.9/tcp/445',
    '/ip4/169.254.169.254/tcp/80',
    '/ip4/203.0.114.7/tcp/7525',
    '/dns4/inside.example/tcp/1',
    '/dns4/outside.example/tcp/2',
    '/dns4/nowhere.example/tcp/3',
  ];
  const names: Record<string, string[]> = {
    'inside.example': ['127.0.0.1', '10.0.0.1'],
    'outside.example': ['198.51.101.1', '2a00::5'],
  };
  const resolve = async (name: string): Promise<string[]> => {
    const found = names[name];
    if (found === undefined) throw new Error('no such name');
    return found;
  };
  const open = ['/ip4/203.0.114.7/tcp/7525', '/ip4/198.51.101.1/tcp/2'];
  it.each<[string, string, string[], string[]]>([
    ['only what is public, where this machine stands in the open', '/ip4/0.0.0.0/tcp/1', ['203.0.114.1'], open],
    [
      'private networks too, where it stands in one',
      '/ip4/0.0.0.0/tcp/1',
      ['127.0.0.1', '10.0.0.7'],
      ['/ip4/192.168.0.9/tcp/445', '/ip4/203.0.114.7/tcp/7525', '/ip4/10.0.0.1/tcp/1', '/ip4/198.51.101.1/tcp/2'],
    ],
    [
      'loopback too, where it listens there itself',
      '/ip4/127.0.0.1/tcp/0',
      ['127.0.0.1'],
      ['/ip4/127.0.0.1/tcp/22', '/ip4/203.0.114.7/tcp/7525', '/ip4/127.0.0.1/tcp/1', '/ip4/198.51.101.1/tcp/2'],
    ],
  ])('%s', async (_why, listen, interfaces, expected) => {
    const places = new DialPlaces({ listen: [listen], resolve, interfaces: () => interfaces });
    expect(await places.of(claims)).toEqual(expected);
  });

  it('is eight addresses at most, whatever names resolve to', async () => {
    const many = Array.from({ length: 100 }, (_, n) => `203.0.114.${n + 1}`);
    const places = new DialPlaces({ listen: [], resolve: async () => many, interfaces: () => [] });
    expect(await places.of(['/dns/many.example/tcp/1'])).toHaveLength(8);
  });
});
