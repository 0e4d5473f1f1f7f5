/** The policy file of a domain (RFC 8461 §3.3). */
import { request } from 'node:https';
import { type HttpsHostOptions, httpsHost } from '../https-host.ts';

export type Fetched =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'failed'; readonly why: string };

export interface FetchOptions extends HttpsHostOptions {
  /** For trials: another than 443. */
  readonly port?: number;
}

// RFC 8461 §3.3 suggests a limit of 64 KiB and a time-out of one minute; mail waits for this, and a policy is a few lines.
const maxBytes = 64 * 1024;
const timeoutMs = 10_000;

/** Over HTTPS with a valid certificate and no redirect (§3.3); whoever publishes a private address wants us to ask our own network. */
export async function fetchStsPolicy(domain: string, options: FetchOptions): Promise<Fetched> {
  const host = `mta-sts.${domain}`;
  const server = await httpsHost(host, options);
  if (server === undefined) return { kind: 'failed', why: `${host} has no address that may be asked` };
  return new Promise((resolve) => {
    const failed = (why: string): void => resolve({ kind: 'failed', why });
    const asking = request(
      {
        ...server,
        port: options.port ?? 443,
        path: '/.well-known/mta-sts.txt',
        signal: AbortSignal.timeout(timeoutMs),
        headers: { accept: 'text/plain' },
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
