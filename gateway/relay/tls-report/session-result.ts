/** What one try to reach a mail server came to, as RFC 8460 counts it. */

/** RFC 8460 §4.3. */
export const tlsFailures = [
  'starttls-not-supported',
  'certificate-host-mismatch',
  'certificate-expired',
  'certificate-not-trusted',
  'validation-failure',
  'tlsa-invalid',
  'dnssec-invalid',
  'sts-policy-fetch-error',
  'sts-policy-invalid',
] as const;
export type TlsFailure = (typeof tlsFailures)[number];

/** The policy that was in force for a try (§4.4). */
export interface AppliedPolicy {
  readonly type: 'sts' | 'tlsa' | 'no-policy-found';
  /** What the domain published, as lines. */
  readonly strings: readonly string[];
  readonly mx: readonly string[];
}

export interface SessionResult {
  readonly domain: string;
  readonly policy: AppliedPolicy;
  /** The host tried; absent where none was (a policy that could not be fetched). */
  readonly server?: { readonly name: string; readonly address: string };
  readonly failure?: { readonly type: TlsFailure; readonly reason: string };
}

export const noPolicy: AppliedPolicy = { type: 'no-policy-found', strings: [], mx: [] };

/** What a session that took the mail proved, as its policy has to see it. */
export function sessionFailure(
  policy: AppliedPolicy,
  {
    level,
    certificateTrouble,
  }: { readonly level: 'plain' | 'encrypted' | 'verified'; readonly certificateTrouble: string },
): SessionResult['failure'] {
  if (level === 'plain') return { type: 'starttls-not-supported', reason: 'the mail went without TLS' };
  // Under no policy any TLS will do; DANE has been proved already.
  if (policy.type !== 'sts' || level === 'verified') return undefined;
  return { type: certificateFailure(certificateTrouble), reason: certificateTrouble };
}

/** The failure that Node's name for an unaccepted certificate stands for. */
export function certificateFailure(reason: string): TlsFailure {
  if (/ALTNAME|HOSTNAME/i.test(reason)) return 'certificate-host-mismatch';
  if (/EXPIRED/i.test(reason)) return 'certificate-expired';
  return 'certificate-not-trusted';
}
