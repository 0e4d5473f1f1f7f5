import { type Address, type Domain, parseAddress } from '../../policy/address.ts';

/** `postmaster: alice@…` is postmaster of every domain; `info@example.org: …` is that address alone. */
export function aliasMap(
  aliases: Readonly<Record<string, Address>>,
  domains: readonly Domain[],
): ReadonlyMap<Address, Address> {
  const map = new Map<Address, Address>();
  for (const [name, target] of Object.entries(aliases)) {
    for (const text of name.includes('@') ? [name] : domains.map((domain) => `${name}@${domain}`)) {
      const parsed = parseAddress(text);
      if (parsed.kind === 'address') map.set(parsed.address, target);
    }
  }
  return map;
}
