/** A TLS report over HTTPS (RFC 8460 §5.4). */
import { request } from 'node:https';
import { type HttpsHostOptions, httpsHost } from '../https-host.ts';

/** Undefined where it was taken; else why not. A report is some KiB: who needs longer does not want it. */
export type PostResult = string | undefined;

const timeoutMs = 30_000;

/** No redirect is followed, and of the answer only its code is read. Never throws. */
export async function postReport(url: URL, body: Buffer, options: HttpsHostOptions): Promise<PostResult> {
  const server = await httpsHost(url.hostname, options);
  if (server === undefined) return `${url.hostname} has no address that may be asked`;
  return new Promise((resolve) => {
    const asking = request(
      {
        ...server,
        port: url.port === '' ? 443 : Number(url.port),
        path: `${url.pathname}${url.search}`,
        method: 'POST',
        signal: AbortSignal.timeout(timeoutMs),
        headers: { 'content-type': 'application/tlsrpt+gzip', 'content-length': body.length },
      },
      ({ statusCode = 0 }) => {
        resolve(statusCode >= 200 && statusCode < 300 ? undefined : `it answered ${statusCode}`);
        asking.destroy();
      },
    );
    asking.on('error', (error) => resolve(error.message));
    asking.end(body);
  });
}
