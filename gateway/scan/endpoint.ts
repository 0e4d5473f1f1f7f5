import { isIP } from 'node:net';

/** Where a scanner listens: what net.connect and http.request take. */
export type Endpoint = { readonly path: string } | { readonly host: string; readonly port: number };

/** `/run/clamav/clamd.ctl` or `127.0.0.1:3310`; undefined for anything else, other machines included: messages leave this one for nobody. */
export function readEndpoint(text: string): Endpoint | undefined {
  // sun_path holds 108 octets with its NUL.
  if (text.startsWith('/')) return Buffer.byteLength(text) <= 107 ? { path: text } : undefined;
  const [, six, four, digits = ''] = /^(?:\[([0-9a-f:]{2,45})\]|([0-9.]{7,15})):([0-9]{1,5})$/i.exec(text) ?? [];
  const host = six ?? four ?? '';
  const port = Number(digits);
  if (port < 1 || port > 65_535) return undefined;
  return (isIP(host) === 4 && host.startsWith('127.')) || (isIP(host) === 6 && host === '::1')
    ? { host, port }
    : undefined;
}
