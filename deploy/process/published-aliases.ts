import { aliasMap } from '../../gateway/inbound/alias-map.ts';
import type { RingDescriptor } from '../../node/identity/ring.ts';
import { maxAliases, maxRecordBytes } from '../../node/store/directory.ts';
import { type Address, domainOf } from '../../policy/address.ts';

// Eight contacts, the address, the signature and what CBOR puts around them.
const restOfRecordBytes = 2 * 1024;
// CBOR's heads of one pair.
const aroundPairBytes = 8;

/**
 * The aliases of a gateway that the whole ring is told of: names of the ring for identities of the ring, as many as its record holds. The gateway itself goes
 * by all that are configured.
 */
export function publishedAliases(
  configured: Readonly<Record<string, Address>>,
  ring: Pick<RingDescriptor, 'name' | 'domains'>,
  log: { warn(fields: object, message: string): void },
): ReadonlyMap<Address, Address> {
  const domains = [ring.name, ...ring.domains];
  const inRing = (address: Address): boolean => domains.includes(domainOf(address));
  const published = new Map<Address, Address>();
  let bytes = 0;
  let left = 0;
  for (const [name, target] of aliasMap(configured, domains)) {
    const more = Buffer.byteLength(name) + Buffer.byteLength(target) + aroundPairBytes;
    const fits = published.size < maxAliases && bytes + more <= maxRecordBytes - restOfRecordBytes;
    if (!inRing(name) || !inRing(target) || !fits) {
      left += 1;
      continue;
    }
    published.set(name, target);
    bytes += more;
  }
  if (left > 0)
    log.warn(
      { left, published: published.size },
      'some of gateway.aliases are known to this gateway alone: the record for the ring is full, or they lead out of the ring',
    );
  return published;
}
