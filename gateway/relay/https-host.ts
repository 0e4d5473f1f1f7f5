/** Hosts on the Internet that are asked over HTTPS because a stranger's DNS says so: no redirect, no private address, valid certificates. */
import type { LookupAddress } from 'node:dns';
import type { RequestOptions } from 'node:https';
import type { LookupFunction } from 'node:net';
import type { Resolver } from '../dns/answer.ts';
import { isPublicAddress } from './addresses.ts';

export interface HttpsHostOptions {
  readonly resolver: Resolver;
  /** For trials on one machine. */
  readonly allowPrivate: boolean;
  /** PEM, besides the public authorities. */
  readonly ca?: string | undefined;
}

/** What a request to this host needs, or undefined where it has no address that may be asked. */
export async function httpsHost(
  host: string,
  { resolver, allowPrivate, ca }: HttpsHostOptions,
): Promise<RequestOptions | undefined> {
  const answers = await Promise.all([resolver.resolve(host, 'A'), resolver.resolve(host, 'AAAA')]);
  const addresses = answers
    .flatMap((answer) => (answer.kind === 'records' ? [...answer.records] : []))
    .filter((address) => allowPrivate || isPublicAddress(address))
    .map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  if (addresses.length === 0) return undefined;
  return {
    host,
    servername: host,
    // Nothing kept: a host is asked once a day.
    agent: false,
    lookup: lookupIn(addresses),
    ...(ca === undefined ? {} : { ca }),
  };
}

/** Found already; node asks once more in its own way. */
function lookupIn(addresses: readonly LookupAddress[]): LookupFunction {
  return (_name, { all }, callback) => {
    if (all === true) callback(null, [...addresses]);
    else callback(null, addresses[0]?.address ?? '', addresses[0]?.family);
  };
}
