/** The policy file of a domain (RFC 8461 §3.3). */
import type { LookupAddress } from 'node:dns';
import { request } from 'node:https';
import type { LookupFunction } from 'node:net';
import type { Resolver } from '../../dns/answer.ts';
import { isPublicAddress } from '../addresses.ts';

export type Fetched =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'failed'; readonly why: string };

export interface FetchOptions {
  readonly resolver: Resolver;
  /** For trials on one machine. */
  readonly allowPrivate: boolean;
  readonly port?: number;
  /** PEM, besides the public authorities. */
  readonly ca?: string;
}

// RFC 8461 §3.3 suggests a limit of 64 KiB and a time-out of one minute; mail waits for this, and a policy is a few lines.
const maxBytes = 64 * 1024;
const timeoutMs = 10_000;

/** Over HTTPS with a valid certificate and no redirect (§3.3); whoever publishes a private address wants us to ask our own network. */
export async function fetchStsPolicy(domain: string, options: FetchOptions): Promise<Fetched> {
  const host = `mta-sts.${domain}`;
  const addresses = await addressesOf(host, options);
  if (addresses.length === 0) return { kind: 'failed', why: `${host} has no address that may be asked` };
  return new Promise((resolve) => {
    const failed = (why: string): void => resolve({ kind: 'failed', why });
    const asking = request(
      {
        host,
        servername: host,
        port: options.port ?? 443,
        path: '/.well-known/mta-sts.txt',
        // Nothing kept: one file a day.
        agent: false,
        lookup: lookupIn(addresses),
        signal: AbortSignal.timeout(timeoutMs),
        headers: { accept: 'text/plain' },
        ...(options.ca === undefined ? {} : { ca: options.ca }),
      },
      (response) => {
        if (response.statusCode !== 200) {
          failed(`the server of the policy answered ${response.statusCode}`);
          asking.destroy();
          return;
        }
        const pieces: Buffer[] = [];
        let bytes = 0;
        response.on('data', (piece: Buffer) => {
          pieces.push(piece);
          bytes += piece.length;
          if (bytes <= maxBytes) return;
          failed(`the policy has more than ${maxBytes} octets`);
          asking.destroy();
        });
        response.on('end', () => resolve({ kind: 'text', text: Buffer.concat(pieces).toString('utf8') }));
        response.on('error', (error) => failed(error.message));
      },
    );
    asking.on('error', (error) => failed(error.message));
    asking.end();
  });
}

async function addressesOf(host: string, { resolver, allowPrivate }: FetchOptions): Promise<LookupAddress[]> {
  const answers = await Promise.all([resolver.resolve(host, 'A'), resolver.resolve(host, 'AAAA')]);
  return answers
    .flatMap((answer) => (answer.kind === 'records' ? [...answer.records] : []))
    .filter((address) => allowPrivate || isPublicAddress(address))
    .map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
}

/** Found already; node asks once more in its own way. */
function lookupIn(addresses: readonly LookupAddress[]): LookupFunction {
  return (_name, { all }, callback) => {
    if (all === true) callback(null, [...addresses]);
    else callback(null, addresses[0]?.address ?? '', addresses[0]?.family);
  };
}
