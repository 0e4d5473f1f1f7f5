import { createHash } from 'node:crypto';
import { type Domain, parseDomain } from '../../policy/address.ts';
import { type KeptKey, keepKey } from './key-record.ts';

/** One DKIM signature and the key it was checked with, for the record of what was seen. */
export interface SignatureSeen {
  readonly domain: string;
  readonly selector: string;
  readonly result: string;
  /** SHA-256 of the public key as PEM; empty if none was found. */
  readonly keyHash: Uint8Array;
  /** The key's record in DNS; absent if none was found, or it is too long to be kept. */
  readonly key?: KeptKey;
}

export interface VerifiedDkim {
  readonly result: 'pass' | 'fail' | 'none' | 'unknown';
  /** Domains with a signature that verifies and covers the whole body. */
  readonly domains: readonly Domain[];
  readonly reason: string;
  readonly signatures: readonly SignatureSeen[];
}

/** What we read of mailauth's results. */
export interface DkimResultRow {
  readonly signingDomain?: string;
  readonly selector?: string;
  readonly publicKey?: string;
  /** The key's record as text. */
  readonly rr?: string;
  readonly status: { readonly result: string; readonly comment?: string; readonly underSized?: number };
}

type Verdict = 'pass' | 'fail' | 'none' | 'unknown';

/** One result of all signatures (RFC 8601 §2.7.1 for each): one that passes is enough, trouble outweighs failure. */
export function dkimOf(rows: readonly DkimResultRow[]): VerifiedDkim {
  const judged = rows.map((row) => ({ row, ...verdictOf(row) }));
  const signatures = rows.filter((row) => row.signingDomain !== undefined).map(signatureSeen);
  const domains = judged.flatMap(({ verdict, domain }) => (verdict === 'pass' && domain !== undefined ? [domain] : []));
  const result = (['pass', 'unknown', 'fail'] as const).find((verdict) =>
    judged.some((row) => row.verdict === verdict),
  );
  const reason = judged.find((row) => row.verdict === result)?.reason ?? 'the message is not signed';
  return { result: result ?? 'none', domains: [...new Set(domains)], reason, signatures };
}

function verdictOf(row: DkimResultRow): { verdict: Verdict; domain?: Domain; reason: string } {
  const { result, comment, underSized = 0 } = row.status;
  const reason = (typeof comment === 'string' ? comment : '').replace(/[\p{C}\s]+/gu, ' ').slice(0, 200);
  const domain = parseDomain(row.signingDomain ?? '');
  switch (result) {
    case 'none':
      return { verdict: 'none', reason: 'the message is not signed' };
    case 'temperror':
      return { verdict: 'unknown', reason };
    case 'pass':
      if (domain === undefined) return { verdict: 'fail', reason: 'the signing domain is no domain name' };
      if (underSized > 0) return { verdict: 'fail', reason: 'the signature leaves part of the body unsigned' };
      return { verdict: 'pass', domain, reason: `signed by ${domain}` };
    default:
      return { verdict: 'fail', reason };
  }
}

// What a stranger chooses freely is cut where it is kept: RFC 1035 §2.3.4 gives a name 253 characters.
const maxNameLength = 253;

function signatureSeen(row: DkimResultRow): SignatureSeen {
  const key = row.rr === undefined ? undefined : keepKey(row.rr);
  return {
    domain: (row.signingDomain ?? '').slice(0, maxNameLength),
    selector: (row.selector ?? '').slice(0, maxNameLength),
    result: row.status.result,
    keyHash: row.publicKey === undefined ? new Uint8Array() : createHash('sha256').update(row.publicKey).digest(),
    ...(key === undefined ? {} : { key }),
  };
}
