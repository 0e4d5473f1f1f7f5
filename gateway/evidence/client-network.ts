import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

/** The client's address and the nested networks it is counted in, smallest first. */
export interface ClientNetwork {
  readonly ip: string;
  /** /24 or /64: what one customer or one site usually has (RFC 6177). */
  readonly subnet: string;
  /** Next wider: /16 or /48. */
  readonly wide: string;
  readonly loopback: boolean;
}

/** Of a text as node:net gives it for a peer; IPv4 written as IPv6 (`::ffff:`) is IPv4. */
export function clientNetwork(text: string): ClientNetwork {
  const ip = text.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  if (isIPv4(ip)) {
    const [a = '', b = '', c = ''] = ip.split('.');
    return { ip, subnet: `${a}.${b}.${c}.0/24`, wide: `${a}.${b}.0.0/16`, loopback: a === '127' };
  }
  if (!isIPv6(ip)) return { ip, subnet: ip, wide: ip, loopback: false };
  const groups = groupsOf(ip);
  const prefix = (count: number): string => `${groups.slice(0, count).join(':')}::/${count * 16}`;
  return { ip, subnet: prefix(4), wide: prefix(3), loopback: groups.join(':') === '0:0:0:0:0:0:0:1' };
}

/** The eight groups of an IPv6 address without leading zeros. Dotted IPv4 at the end counts as two. */
export function groupsOf(ip: string): readonly string[] {
  const [head = '', tail] = ip.split('::');
  const read = (part: string): string[] =>
    part
      .split(':')
      .filter((group) => group !== '')
      .flatMap((group) => (group.includes('.') ? dotted(group) : [Number.parseInt(group, 16).toString(16)]));
  const first = read(head);
  const last = tail === undefined ? [] : read(tail);
  return [...first, ...Array.from({ length: Math.max(0, 8 - first.length - last.length) }, () => '0'), ...last];
}

function dotted(group: string): string[] {
  const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
  return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)];
}

/** Whether an address is one of these, or in one of these networks in CIDR form. */
export function inNetworks(networks: readonly string[]): (ip: string) => boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return (text) => {
    const { ip } = clientNetwork(text);
    // A socket that broke while it was accepted has no address.
    return isIP(ip) !== 0 && list.check(ip, isIPv4(ip) ? 'ipv4' : 'ipv6');
  };
}
