/** Where mail for a domain goes (RFC 5321 §5.1). Asks the resolver, decides, connects to nothing. */
import { isIP } from 'node:net';
import { parseDomain, parseLiteral } from '../../policy/address.ts';
import type { Answer, MxRecord, Resolver } from '../dns/answer.ts';
import { isPublicAddress } from './addresses.ts';
import type { NamedHost, NamedRoute } from './static-routes.ts';

export interface Hop {
  /** The mail server's name, for TLS and for reports. */
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** The operator named it: its address may be private, and what it has to prove is his word, not the recipient's domain's. */
  readonly named?: NamedHost;
  /** Its MX record and its address were validated (DNSSEC). */
  readonly validated?: true;
}

export type Route =
  /** In the order to be tried; at least one. */
  | {
      readonly kind: 'hosts';
      readonly hops: readonly Hop[];
      /** The same for all domains with the same servers: what one of them is asked to bear, all bear. */
      readonly group: string;
    }
  | { readonly kind: 'never'; readonly status: string; readonly why: string }
  /** `unanswered`: a lookup got no answer, which may be our resolver's fault. */
  | { readonly kind: 'later'; readonly status: string; readonly why: string; readonly unanswered: true };

export interface RouteOptions {
  readonly resolver: Resolver;
  readonly random: () => number;
  /** Where servers of MX records listen: 25, except where ports below 1024 cannot be had. */
  readonly mxPort: number;
  /** Hosts that the operator named. */
  readonly named?: NamedRoute;
  /** Our own names: mail that would come back to us is cut off. */
  readonly ownNames: readonly string[];
  /** Our own addresses, for a name of ours that we do not know. */
  readonly ownAddresses?: readonly string[];
  /** The resolver validates and the way to it is safe, so that its AD bit counts. */
  readonly validating: boolean;
  /** Lets MX records point into private networks, for trials on one machine. */
  readonly allowPrivate: boolean;
}

/** Of a domain with more servers than this, the best ones are tried at each attempt. */
const maxServers = 5;
/** Two or three per server are usual. */
const maxHops = 10;

type Found =
  | { kind: 'addresses'; addresses: { address: string; authenticated: boolean }[] }
  | { kind: 'none' }
  | { kind: 'unknown'; why: string };

// RFC 3463: 4.4.3 directory server failure, 5.1.2 bad destination system address, 5.4.4 unable to route, 5.4.6 routing loop.
const later = (why: string): Route => ({ kind: 'later', status: '4.4.3', why, unanswered: true });
const never = (status: string, why: string): Route => ({ kind: 'never', status, why });

export async function routeTo(domain: string, options: RouteOptions): Promise<Route> {
  const literal = parseLiteral(domain);
  if (literal !== undefined && !options.allowPrivate && !isPublicAddress(literal))
    return never('5.4.4', `${literal} is a private address`);
  const named = options.named?.(domain);
  if (named !== undefined) return toNamed(named, options.resolver);
  if (literal !== undefined) return toLiteral(literal, options);
  const answer = await options.resolver.resolve(domain, 'MX');
  if (answer.kind === 'unknown') return later(`the mail servers of ${domain} could not be looked up: ${answer.reason}`);
  if (answer.kind === 'nxdomain') return never('5.1.2', `the domain ${domain} does not exist`);
  const servers = serversOf(domain, answer, options);
  return Array.isArray(servers)
    ? addressesOf(domain, servers, options.validating && answer.authenticated === true, options)
    : servers;
}

/** The names of the servers in the order to be tried. */
function serversOf(domain: string, answer: Answer<MxRecord>, options: RouteOptions): string[] | Route {
  // RFC 5321 §5.1: without MX records the domain itself is the server.
  if (answer.kind !== 'records' || answer.records.length === 0) return [domain];
  const records = answer.records.map(({ exchange, priority }) => ({ exchange: canonical(exchange), priority }));
  // RFC 7505 §3: a single MX of "." says that the domain takes no mail. (RFC 7505 §4.1 gives 5.1.10 for it.)
  if (records.length === 1 && records[0]?.exchange === '') {
    return never('5.1.10', `the domain ${domain} says that it takes no mail`);
  }
  const own = Math.min(
    ...records.filter((record) => options.ownNames.includes(record.exchange)).map((record) => record.priority),
  );
  // RFC 5321 §5.1: if we are one of the servers, only better ones may be used, or mail would go round in circles.
  const better = records.filter((record) => record.priority < own);
  if (better.length === 0) return never('5.4.6', `mail for ${domain} would come back to this gateway`);
  // An address literal or another thing that is no name is no server.
  const named = better.filter((record) => parseDomain(record.exchange) !== undefined);
  if (named.length === 0) return never('5.4.4', `the mail servers published for ${domain} are no host names`);
  const shuffled = named.map((record) => ({ ...record, chance: options.random() }));
  shuffled.sort((a, b) => a.priority - b.priority || a.chance - b.chance);
  return [...new Set(shuffled.map((record) => record.exchange))].slice(0, maxServers);
}

function canonical(name: string): string {
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
}

async function addressesOf(
  domain: string,
  servers: readonly string[],
  validated: boolean,
  options: RouteOptions,
): Promise<Route> {
  const found = await Promise.all(servers.map((server) => lookUp(server, options.resolver)));
  const hops: Hop[] = [];
  const reasons: string[] = [];
  let isOurs = false;
  for (const [i, name] of servers.entries()) {
    const one = found[i];
    if (one === undefined || one.kind === 'none') continue;
    if (one.kind === 'unknown') reasons.push(`${name}: ${one.why}`);
    else if (one.addresses.some(({ address }) => options.ownAddresses?.includes(address) === true)) {
      // RFC 5321 §5.1: those after it are no better than we are.
      isOurs = true;
      break;
    } else {
      hops.push(
        ...one.addresses.map(({ address, authenticated }): Hop => {
          const hop = { name, address, port: options.mxPort };
          return validated && authenticated ? { ...hop, validated: true } : hop;
        }),
      );
    }
  }
  const allowed = hops.filter(({ address }) => options.allowPrivate || isPublicAddress(address)).slice(0, maxHops);
  if (allowed.length > 0) return { kind: 'hosts', hops: allowed, group: groupOf(servers) };
  if (reasons.length > 0)
    return later(`the addresses of the mail servers of ${domain} could not be looked up: ${reasons.join('; ')}`);
  if (isOurs) return never('5.4.6', `mail for ${domain} would come back to this gateway`);
  if (hops.length > 0) return never('5.4.4', `the mail servers of ${domain} have private addresses only`);
  return never('5.4.4', `no mail server of ${domain} has an address`);
}

/** A lane's name has a bound, and so has this. */
const maxGroupChars = 250;

function groupOf(servers: readonly string[]): string {
  return [...servers].sort().join(' ').slice(0, maxGroupChars);
}

/** IPv4 first: a sending address without reverse name, frequent with IPv6, is refused by many, and refused for good. */
async function lookUp(name: string, resolver: Resolver): Promise<Found> {
  const [four, six] = await Promise.all([resolver.resolve(name, 'A'), resolver.resolve(name, 'AAAA')]);
  const addresses = [four, six].flatMap((answer) =>
    answer.kind === 'records'
      ? answer.records.map((address) => ({ address, authenticated: answer.authenticated === true }))
      : [],
  );
  if (addresses.length > 0) return { kind: 'addresses', addresses };
  for (const answer of [four, six]) if (answer.kind === 'unknown') return { kind: 'unknown', why: answer.reason };
  return { kind: 'none' };
}

/** RFC 5321 §4.1.3: the address is the place, with no question asked. */
function toLiteral(address: string, { mxPort, ownAddresses }: RouteOptions): Route {
  if (ownAddresses?.includes(address) === true) return never('5.4.6', 'the mail would come back to this gateway');
  return { kind: 'hosts', group: address, hops: [{ name: address, address, port: mxPort }] };
}

async function toNamed(named: NamedHost, resolver: Resolver): Promise<Route> {
  const { host, port } = named;
  const group = `${host}:${port}`.slice(0, maxGroupChars);
  const hosts = (addresses: readonly string[]): Route => ({
    kind: 'hosts',
    group,
    hops: addresses.map((address) => ({ name: host, address, port, named })),
  });
  if (isIP(host) !== 0) return hosts([host]);
  // RFC 6761 §6.3: localhost is not asked for.
  if (host === 'localhost') return hosts(['127.0.0.1']);
  const found = await lookUp(host, resolver);
  if (found.kind === 'addresses') return hosts(found.addresses.slice(0, maxHops).map(({ address }) => address));
  // A host that does not exist is our own mistake, not the recipient's: mail waits until it is corrected.
  return later(`the host ${host} has no address: ${found.kind === 'unknown' ? found.why : 'no such name'}`);
}
