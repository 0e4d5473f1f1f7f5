import { isIPv4 } from 'node:net';
import { parseDomain } from '../../policy/address.ts';
import type { Evidence } from '../../policy/evidence.ts';
import type { Resolver } from '../dns/answer.ts';
import { clientNetwork, groupsOf } from './client-network.ts';

export type ReverseName = Pick<Evidence['client'], 'name' | 'iprev'>;

// RFC 8601 §3: a few names are enough; whoever owns the address chooses how many there are.
const maxNames = 3;

/** Whether the client's address has a name that leads back to it (RFC 8601 §3, iprev). Never throws. */
export async function reverseName(ip: string, resolver: Resolver): Promise<ReverseName> {
  const names = await resolver.resolve(reverseQuery(ip), 'PTR');
  if (names.kind === 'unknown') return { name: '', iprev: 'unknown' };
  if (names.kind !== 'records') return { name: '', iprev: 'none' };
  // Whoever owns the address writes these names: only what is a domain name is looked up or shown.
  const candidates = names.records.slice(0, maxNames).flatMap((name) => parseDomain(name) ?? []);
  let unknown = false;
  for (const name of candidates) {
    const back = await resolver.resolve(name, isIPv4(ip) ? 'A' : 'AAAA');
    if (back.kind === 'unknown') unknown = true;
    if (back.kind === 'records' && back.records.some((found) => sameAddress(found, ip))) return { name, iprev: 'pass' };
  }
  return { name: '', iprev: unknown ? 'unknown' : 'fail' };
}

function sameAddress(a: string, b: string): boolean {
  return isIPv4(a) || isIPv4(b) ? a === b : groupsOf(a).join(':') === groupsOf(b).join(':');
}

/** RFC 1035 §3.5 and RFC 3596 §2.5. */
export function reverseQuery(ip: string): string {
  return `${reverseLabels(ip)}.${isIPv4(clientNetwork(ip).ip) ? 'in-addr' : 'ip6'}.arpa`;
}

/** The address in the order of names, octet by octet or nibble by nibble: also how lists are asked (RFC 5782 §2.1, §2.4). */
export function reverseLabels(text: string): string {
  const { ip } = clientNetwork(text);
  if (isIPv4(ip)) return ip.split('.').reverse().join('.');
  const nibbles = groupsOf(ip)
    .map((group) => group.padStart(4, '0'))
    .join('');
  return nibbles.split('').reverse().join('.');
}
