import type { Resolver } from '../../gateway/dns/answer.ts';
import { createResolver } from '../../gateway/dns/resolver.ts';
import type { GatewaySection } from '../config/schema.ts';

// A person waits for it.
const dnsQueryMs = 3_000;

/** The name servers that the gateway of this home asks. */
export function resolverOf({ servers }: Pick<GatewaySection['dns'], 'servers'>): Resolver {
  return createResolver({ ...(servers.length === 0 ? {} : { servers }), timeoutMs: dnsQueryMs, now: Date.now });
}
