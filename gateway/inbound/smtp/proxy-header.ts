import { isIPv4, isIPv6 } from 'node:net';

/** What the beginning of a connection from a proxy says (the PROXY protocol, versions 1 and 2). */
export type ProxyHeader =
  /** `ip`: whom the proxy speaks for; undefined where it speaks for itself, as when it asks whether we are there. */
  | { readonly kind: 'header'; readonly ip: string | undefined; readonly octets: number }
  | { readonly kind: 'more' }
  | { readonly kind: 'invalid' };

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const version1 = Buffer.from('PROXY ', 'latin1');
// The longest line that version 1 allows, CRLF included.
const maxLine = 107;
// Version 2 can carry 64 KiB of extras; those that proxies send are some hundred octets.
const maxExtras = 4_096;

/** Reads the header at the start of these octets; `more` while it is not all there. Never looks further than its bound. */
export function readProxyHeader(octets: Buffer): ProxyHeader {
  const begins = (text: Buffer): boolean => {
    const length = Math.min(text.length, octets.length);
    return octets.subarray(0, length).equals(text.subarray(0, length));
  };
  if (begins(signature)) return octets.length < signature.length ? { kind: 'more' } : readVersion2(octets);
  if (begins(version1)) return octets.length < version1.length ? { kind: 'more' } : readVersion1(octets);
  return { kind: 'invalid' };
}

function readVersion1(octets: Buffer): ProxyHeader {
  const end = octets.subarray(0, maxLine).indexOf('\r\n');
  if (end < 0) return octets.length >= maxLine ? { kind: 'invalid' } : { kind: 'more' };
  const [, family = '', ip = '', to = '', ...ports] = octets.toString('latin1', 0, end).split(' ');
  const header = (from: string | undefined): ProxyHeader => ({ kind: 'header', ip: from, octets: end + 2 });
  if (family === 'UNKNOWN') return header(undefined);
  const isOne = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : () => false;
  const portsFit = ports.length === 2 && ports.every((port) => /^\d{1,5}$/.test(port) && Number(port) <= 65_535);
  return isOne(ip) && isOne(to) && portsFit ? header(ip) : { kind: 'invalid' };
}

function readVersion2(octets: Buffer): ProxyHeader {
  if (octets.length < 16) return { kind: 'more' };
  const [versionAndCommand = 0, family = 0] = octets.subarray(12);
  const length = octets.readUInt16BE(14);
  if (versionAndCommand >> 4 !== 2 || length > maxExtras) return { kind: 'invalid' };
  if (octets.length < 16 + length) return { kind: 'more' };
  const header = (ip: string | undefined): ProxyHeader => ({ kind: 'header', ip, octets: 16 + length });
  const body = octets.subarray(16, 16 + length);
  switch (versionAndCommand & 0x0f) {
    case 0:
      return header(undefined);
    case 1:
      break;
    default:
      return { kind: 'invalid' };
  }
  switch (family) {
    // TCP over IPv4, over IPv6.
    case 0x11:
      return body.length < 12 ? { kind: 'invalid' } : header([...body.subarray(0, 4)].join('.'));
    case 0x21:
      return body.length < 36 ? { kind: 'invalid' } : header(ipv6(body));
    default:
      return header(undefined);
  }
}

function ipv6(body: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, nth) => body.readUInt16BE(2 * nth).toString(16));
  // IPv4 in IPv6 in the form that node:net has for it, so that a client has one address.
  if (body.subarray(0, 12).equals(Buffer.from('00000000000000000000ffff', 'hex')))
    return `::ffff:${[...body.subarray(12, 16)].join('.')}`;
  return groups.join(':');
}
