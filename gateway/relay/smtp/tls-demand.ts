/** What TLS has to prove before mail goes through a connection. */
import { createHash, type X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { TlsaRecord } from '../../dns/answer.ts';
import { certificateFailure, type TlsFailure } from '../tls-report/session-result.ts';

export type TlsDemand =
  /** No TLS: it has just failed, and nobody asks for it. */
  | { readonly kind: 'none' }
  /** RFC 7435: taken where it is offered, with any certificate; a wrong one still keeps listeners out. */
  | { readonly kind: 'opportunistic' }
  /** TLS, with any certificate: the host's TLSA records are there but none can be used (RFC 7672 §2.2), or the message asks for encryption alone. */
  | { readonly kind: 'encrypted' }
  /** TLS with a certificate under a public authority for the host's name (RFC 8461 §4.1), or what NODE_EXTRA_CA_CERTS adds to them. */
  | { readonly kind: 'public-authority' }
  /** TLS with a certificate that the host's TLSA records name (RFC 7672). */
  | { readonly kind: 'dane'; readonly records: readonly TlsaRecord[] };

/** Whether mail may go on without TLS, or with any. */
export function isOptional(demand: TlsDemand): boolean {
  return demand.kind === 'none' || demand.kind === 'opportunistic';
}

export interface Shortcoming {
  readonly type: TlsFailure;
  readonly why: string;
}

/** Undefined where what was shown is enough, or why not. */
export function shortcoming(demand: TlsDemand, socket: TLSSocket, name: string): Shortcoming | undefined {
  switch (demand.kind) {
    case 'none':
    case 'opportunistic':
    case 'encrypted':
      return undefined;
    case 'public-authority':
      // Chain, dates and name (servername is the host's name), as node:tls checked them.
      return socket.authorized
        ? undefined
        : {
            type: certificateFailure(authorizationCode(socket)),
            why: `its certificate is not valid for ${name}: ${String(socket.authorizationError)}`,
          };
    default: {
      const leaf = socket.getPeerX509Certificate();
      if (leaf === undefined) return { type: 'validation-failure', why: 'it showed no certificate' };
      return matchesAny(demand.records, leaf, name, Date.now())
        ? undefined
        : {
            type: 'validation-failure',
            why: 'its certificate is not the one that its TLSA records name (DANE)',
          };
    }
  }
}

/** Node's short name for what is wrong with a certificate, for instance CERT_HAS_EXPIRED; empty where nothing is. */
export function authorizationCode({ authorizationError }: TLSSocket): string {
  const error: unknown = authorizationError;
  if (error instanceof Error) return (error as NodeJS.ErrnoException).code ?? error.message;
  return typeof error === 'string' ? error : '';
}

/** Records that say something about SMTP: RFC 7672 §3.1.3 gives usages 0 and 1 no meaning; unknown selectors and digests are unusable. */
export function usableRecords(records: readonly TlsaRecord[]): TlsaRecord[] {
  return records.filter(({ certUsage, selector, match, data }) => {
    const length = [undefined, 32, 64][match];
    return (
      (certUsage === 2 || certUsage === 3) &&
      selector <= 1 &&
      match <= 2 &&
      (length === undefined || data.length === length)
    );
  });
}

// Chains have three or four certificates; a peer chooses how many it sends.
const maxChain = 10;

/** RFC 7672 §3.1: usage 3 names the host's own certificate, and neither names nor dates matter; usage 2 an authority under which it has to be valid. */
export function matchesAny(records: readonly TlsaRecord[], leaf: X509Certificate, name: string, now: number): boolean {
  if (records.some((record) => record.certUsage === 3 && matches(record, leaf))) return true;
  const authorities = records.filter((record) => record.certUsage === 2);
  if (authorities.length === 0 || leaf.checkHost(name) === undefined || !isCurrent(leaf, now)) return false;
  let below = leaf;
  for (let depth = 0; depth < maxChain; depth += 1) {
    const above = below.issuerCertificate;
    if (above === undefined || above.fingerprint256 === below.fingerprint256) return false;
    if (!above.ca || !isCurrent(above, now) || !below.checkIssued(above) || !below.verify(above.publicKey))
      return false;
    if (authorities.some((record) => matches(record, above))) return true;
    below = above;
  }
  return false;
}

function isCurrent({ validFromDate, validToDate }: X509Certificate, now: number): boolean {
  return validFromDate.getTime() <= now && now <= validToDate.getTime();
}

/** RFC 6698 §2.1: selector 0 is the certificate, 1 its key; match 0 is the thing itself, 1 and 2 its digest. */
function matches({ selector, match, data }: TlsaRecord, certificate: X509Certificate): boolean {
  const chosen = selector === 0 ? certificate.raw : certificate.publicKey.export({ type: 'spki', format: 'der' });
  const value =
    match === 0
      ? chosen
      : createHash(match === 1 ? 'sha256' : 'sha512')
          .update(chosen)
          .digest();
  return Buffer.compare(value, data) === 0;
}
