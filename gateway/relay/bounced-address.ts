/**
 * Bounces that come after a host took the message count against an address, too, where whoever reports it speaks for the address's domain. A return path that
 * proves itself is not enough: each recipient of a message knows it, and could make up reports about others.
 */
import { parseAddress } from '../../policy/address.ts';
import type { Resolver } from '../dns/answer.ts';
import { isDeadAddress } from '../returns/cause.ts';
import type { ReportedRecipient } from '../returns/report.ts';
import { provesDeath, type Suppression } from './suppression.ts';

/** The client that brought the report. */
export interface Reporter {
  readonly ip: string;
  /** That its address has and that leads back to it (iprev); empty where there is none. */
  readonly name: string;
}

/** As many servers of a domain as are asked for their addresses: those mail would be brought to. */
const maxServers = 5;

/** A name of the domain's own, one of its mail servers, or the address of one. Trouble to find out is no. */
async function speaksFor({ ip, name }: Reporter, domain: string, resolver: Resolver): Promise<boolean> {
  if (name === domain || name.endsWith(`.${domain}`)) return true;
  const answer = await resolver.resolve(domain, 'MX');
  if (answer.kind !== 'records') return false;
  const servers = [...answer.records]
    .sort((a, b) => a.priority - b.priority)
    .slice(0, maxServers)
    .map(({ exchange }) => exchange.toLowerCase().replace(/\.$/, ''));
  if (name !== '' && servers.includes(name)) return true;
  const type = ip.includes(':') ? 'AAAA' : 'A';
  const addresses = await Promise.all(servers.map(async (server) => resolver.resolve(server, type)));
  return addresses.some((found) => found.kind === 'records' && found.records.includes(ip));
}

export interface BounceParts {
  readonly suppression: Pick<Suppression, 'refused'>;
  readonly resolver: Resolver;
  readonly now: () => number;
}

/**
 * Counts what a report says of one recipient, if it proves anything: a final failure with a code and words that speak of a dead address (RFC 3463 5.1.x, 5.2.1), never of
 * policy. `trace`: of the message that failed. The address, where it is suppressed from now on.
 */
export async function learnOfBounce(
  { suppression, resolver, now }: BounceParts,
  { address, action, status, cause, said }: ReportedRecipient,
  reporter: Reporter,
  trace: string,
): Promise<string | undefined> {
  const isDead = provesDeath(status) && (isDeadAddress(cause) || cause === 'no-such-host');
  const parsed = parseAddress(address);
  if (action !== 'failed' || !isDead || parsed.kind === 'invalid') return undefined;
  if (!(await speaksFor(reporter, parsed.domain, resolver))) return undefined;
  const suppressed = await suppression.refused(parsed.address, { at: now(), trace, status, said });
  return suppressed ? parsed.address : undefined;
}
