import { domainToASCII } from 'node:url';

declare const domainBrand: unique symbol;
declare const addressBrand: unique symbol;

/** A canonical domain: lower case, A-labels, no trailing dot. Only {@link parseDomain} makes one. */
export type Domain = string & { readonly [domainBrand]: true };

/** A canonical mailbox address: local part as given but lower case in ASCII, `@`, canonical domain. Only {@link parseAddress} makes one. */
export type Address = string & { readonly [addressBrand]: true };

export type ParsedAddress =
  | { readonly kind: 'address'; readonly address: Address; readonly local: string; readonly domain: Domain }
  | { readonly kind: 'invalid'; readonly found: string; readonly reason: string };

// RFC 5321 §4.5.3.1.1 and §4.5.3.1.2: octets.
const maxLocalOctets = 64;
const maxDomainOctets = 255;
// RFC 1035 §2.3.4.
const maxLabelOctets = 63;

// RFC 5321 §4.1.2 Dot-string, with the UTF-8 characters that RFC 6531 §3.3 adds. Quoted local parts are refused on purpose:
// no user of a ring has one, and two parsers rarely agree on them.
const dotString =
  /^[a-z0-9!#$%&'*+/=?^_`{|}~\u{80}-\u{10ffff}-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~\u{80}-\u{10ffff}-]+)*$/u;
const label = /^[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?$/;

/**
 * The canonical form of a domain name, or undefined where it is none (RFC 5321 §4.1.2, RFC 5890 A-labels; address
 * literals are not domains). Never throws; linear in the length, which is bounded first.
 */
export function parseDomain(text: string): Domain | undefined {
  if (text.length === 0 || text.length > maxDomainOctets) return undefined;
  // Characters that URL parsing would cut at or decode are never part of a domain name.
  if (/[\s%/\\?#@:[\]<>^|]/u.test(text)) return undefined;
  const ascii = domainToASCII(text.endsWith('.') ? text.slice(0, -1) : text);
  if (ascii.length === 0 || ascii.length > maxDomainOctets - 2) return undefined;
  const labels = ascii.split('.');
  if (!labels.every((part) => part.length <= maxLabelOctets && label.test(part))) return undefined;
  // domainToASCII reads "127.1" as an IPv4 address, as URLs do: an address is not a domain.
  if (/^[0-9]+$/.test(labels.at(-1) ?? '')) return undefined;
  return ascii as Domain;
}

/** The canonical form of `local@domain` (no angle brackets, no comments, no quoted local part). Never throws. */
export function parseAddress(text: string): ParsedAddress {
  const invalid = (reason: string): ParsedAddress => ({ kind: 'invalid', found: text.slice(0, 320), reason });
  if (text.length > maxLocalOctets + 1 + maxDomainOctets) return invalid('longer than 320 characters');
  const at = text.lastIndexOf('@');
  if (at < 0) return invalid('no @ in it; expected local@domain');
  const local = text.slice(0, at).toLowerCase().normalize('NFC');
  if (Buffer.byteLength(local) > maxLocalOctets) return invalid('the part before @ is longer than 64 octets');
  if (!dotString.test(local)) return invalid('the part before @ is not a dot-separated list of atoms');
  const domain = parseDomain(text.slice(at + 1));
  if (domain === undefined) return invalid('the part after @ is not a domain name');
  return { kind: 'address', address: `${local}@${domain}` as Address, local, domain };
}

const ipv4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

/** The address in an address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3); canonical; undefined for any other text. */
export function parseLiteral(text: string): string | undefined {
  const [, six, plain = ''] = /^\[(IPv6:)?([0-9a-f:.]{2,45})\]$/i.exec(text) ?? [];
  if (six === undefined) return ipv4.test(plain) ? plain : undefined;
  // A URL knows IPv6 addresses by the same brackets (RFC 3986 §3.2.2).
  return plain.includes(':') ? URL.parse(`http://[${plain}]/`)?.hostname.slice(1, -1) : undefined;
}

/** The canonical form of `local@[ADDRESS]`: its local part as {@link parseAddress} takes it; undefined for any other text. */
export function parseLiteralAddress(text: string): string | undefined {
  const at = text.lastIndexOf('@');
  const ip = parseLiteral(text.slice(at + 1));
  if (ip === undefined || parseAddress(`${text.slice(0, at)}@literal.invalid`).kind === 'invalid') return undefined;
  return `${text.slice(0, at)}@[${ip.includes(':') ? 'IPv6:' : ''}${ip}]`;
}

/** `local` without its subaddress tag (RFC 5233: everything from the first `+`), or as it is. */
export function withoutTag(address: Address): Address {
  const at = address.lastIndexOf('@');
  const plus = address.indexOf('+');
  return plus > 0 && plus < at ? ((address.slice(0, plus) + address.slice(at)) as Address) : address;
}

/** The domain of a canonical address. */
export function domainOf(address: Address): Domain {
  return address.slice(address.lastIndexOf('@') + 1) as Domain;
}
