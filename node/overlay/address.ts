import { BlockList } from 'node:net';
import { multiaddr } from '@multiformats/multiaddr';

export type Reach = 'loopback' | 'private' | 'public' | 'name' | 'never';

function networks(...given: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [net, prefix] of given) list.addSubnet(net, prefix, net.includes(':') ? 'ipv6' : 'ipv4');
  return list;
}

// RFC 1122 §3.2.1.3, RFC 4291 §2.5.3.
const loopback = networks(['127.0.0.0', 8], ['::1', 128]);
// RFC 1918, RFC 6598 (behind a carrier's NAT), RFC 4193.
const within = networks(['10.0.0.0', 8], ['172.16.0.0', 12], ['192.168.0.0', 16], ['100.64.0.0', 10], ['fc00::', 7]);
// Nobody's (RFC 1122), link-local, which needs an interface to mean anything and holds the metadata services of clouds (RFC 3927, RFC 4291 §2.5.6),
// multicast and reserved (RFC 5771, RFC 1112, RFC 4291 §2.7), IPv4 in IPv6 by translation (RFC 6052), where it would walk past the lines above.
const never = networks(
  ['0.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 3],
  ['::', 128],
  ['fe80::', 10],
  ['ff00::', 8],
  ['64:ff9b::', 96],
);

/** What kind of place a multiaddr names; `never` for what no node of a ring is dialled at. Only TCP: we speak nothing else. */
export function reachOf(address: string): Reach {
  const parts = multiaddr(address).getComponents();
  const [host, port] = parts;
  if (parts.length !== 2 || port?.name !== 'tcp' || Number(port.value) === 0 || host?.value === undefined)
    return 'never';
  if (host.name === 'dns' || host.name === 'dns4' || host.name === 'dns6') return 'name';
  if (host.name !== 'ip4' && host.name !== 'ip6') return 'never';
  const family = host.name === 'ip4' ? 'ipv4' : 'ipv6';
  if (never.check(host.value, family)) return 'never';
  if (loopback.check(host.value, family)) return 'loopback';
  return within.check(host.value, family) ? 'private' : 'public';
}

/** The public network that these addresses stand in, /24 or /48: what one customer rents. Undefined where none is public. */
export function networkOf(addresses: readonly string[]): string | undefined {
  const open = addresses.find((address) => reachOf(address) === 'public');
  const host = open === undefined ? undefined : multiaddr(open).getComponents()[0];
  if (host?.value === undefined) return undefined;
  return host.name === 'ip4'
    ? host.value.split('.').slice(0, 3).join('.')
    : wideGroups(host.value).slice(0, 3).join(':');
}

function wideGroups(address: string): string[] {
  const [head = '', tail] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  return tail === undefined
    ? left
    : [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right];
}
