/** Which addresses a mail server on the Internet can have. */
import { BlockList, isIP } from 'node:net';

/** IANA special-purpose registries (RFC 6890): this host, private, shared, loopback, link-local, test networks, multicast, reserved. */
const networks4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
];
// ::ffff:0:0/96 and 64:ff9b::/96 are ways to write IPv4 addresses, private ones too; 2002::/16 (6to4) is another.
const networks6 = [
  '::/96',
  '::ffff:0:0/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
];

function listed(networks: readonly string[], family: 'ipv4' | 'ipv6'): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    list.addSubnet(address, Number(bits), family);
  }
  return list;
}

// Two lists: a list holds an IPv4 address also when ::ffff:0:0/96 is in it.
const special4 = listed(networks4, 'ipv4');
const special6 = listed(networks6, 'ipv6');

/** False for loopback, private and other special addresses: whoever publishes them in an MX wants us to talk to our own network. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !special4.check(address, 'ipv4');
  return family === 6 && !special6.check(address, 'ipv6');
}
