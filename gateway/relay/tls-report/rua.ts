/** Whom a domain wants its TLS reports sent to (RFC 8460 §3). Pure. */
import { parseAddress, parseDomain } from '../../../policy/address.ts';

export type Destination =
  | { readonly kind: 'mailto'; readonly address: string }
  | { readonly kind: 'https'; readonly url: URL };

/** A domain may name several; more than these are not worth our mail. */
const maxDestinations = 3;
const maxUriChars = 1_000;

/** From the TXT records of `_smtp._tls.DOMAIN`, each in its strings. None where there is not exactly one record of this kind; what cannot be used of it is passed over. */
export function reportDestinations(records: readonly (readonly string[])[]): readonly Destination[] {
  const ours = records.map((strings) => strings.join('')).filter((text) => /^v=TLSRPTv1[ \t]*(?:;|$)/.test(text));
  const [text, another] = ours;
  if (text === undefined || another !== undefined) return [];
  const rua = text
    .split(';')
    .map((field) => /^[ \t]*rua=(.*)$/s.exec(field)?.[1])
    .find((value) => value !== undefined);
  return (rua ?? '')
    .split(',')
    .flatMap((uri) => destinationOf(uri.trim()) ?? [])
    .slice(0, maxDestinations);
}

function destinationOf(uri: string): Destination | undefined {
  if (uri.length > maxUriChars) return undefined;
  const [, mailbox] = /^mailto:([^?]+)(?:\?.*)?$/i.exec(uri) ?? [];
  if (mailbox !== undefined) {
    const parsed = parseAddress(unescaped(mailbox));
    return parsed.kind === 'address' ? { kind: 'mailto', address: parsed.address } : undefined;
  }
  if (!/^https:\/\//i.test(uri)) return undefined;
  const url = URL.parse(uri);
  // A host without a name has no certificate; a name or password in the URL is nobody's business but its owner's.
  if (url === null || parseDomain(url.hostname) === undefined || url.username !== '' || url.password !== '')
    return undefined;
  return { kind: 'https', url };
}

/** RFC 6068 §2: percent-encoded; what is not is none. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
