/** What a connection to a mail server has to prove before mail for a domain goes through it, and what was reached. */

import type { Resolver } from '../../dns/answer.ts';
import { AnswerCache } from '../../dns/answer-cache.ts';
import type { TlsWish } from '../relay-job.ts';
import type { Hop } from '../route.ts';
import type { TlsDemand } from '../smtp/tls-demand.ts';
import type { NamedTls } from '../static-routes.ts';
import { type AppliedPolicy, noPolicy, type TlsFailure } from '../tls-report/session-result.ts';
import { daneOf } from './dane.ts';
import { namesServer, type StsPolicy } from './mta-sts.ts';
import type { KnownPolicy, Marks } from './sts-book.ts';

/** From weak to strong. */
export const levels = ['plain', 'encrypted', 'verified'] as const;
export type Level = (typeof levels)[number];

export type Security =
  | {
      readonly kind: 'demand';
      readonly demand: TlsDemand;
      readonly by: 'none' | 'mta-sts' | 'dane';
      readonly policy: AppliedPolicy;
      /** What would be refused if the policy were enforced: it is being tested, and told of in reports (RFC 8461 §5). */
      readonly tested?: string;
    }
  /** This server must not be used now. */
  | { readonly kind: 'refused'; readonly why: string; readonly policy: AppliedPolicy; readonly type: TlsFailure }
  /** Nothing can prove this server for a message that requires TLS (RFC 8689 §4.2.1). */
  | { readonly kind: 'unprovable'; readonly why: string };

export interface TransportParts {
  readonly resolver: Resolver;
  readonly policyFor: (domain: string) => Promise<KnownPolicy>;
  readonly marks: Marks;
  readonly now: () => number;
  readonly log: { warn(fields: object, message: string): void };
}

export interface Transport {
  /** For one server of a domain, and a message whose sender says this of TLS. Never throws. */
  of(domain: string, hop: Hop, wish?: TlsWish): Promise<Security>;
  /** What the connection that took the mail had. True where that is less than it was before. */
  reached(domain: string, level: Level): Promise<boolean>;
}

// A quarter: longer than any outage of TLS, shorter than the memory of whoever would have to explain it.
const rememberMs = 90 * 24 * 3_600_000;
// Written again once a week at the most, so that it does not end while mail goes there.
const freshMs = 7 * 24 * 3_600_000;
const maxDomains = 20_000;

const opportunistic: Extract<Security, { kind: 'demand' }> = {
  kind: 'demand',
  demand: { kind: 'opportunistic' },
  by: 'none',
  policy: noPolicy,
};
const certified: Extract<Security, { kind: 'demand' }> = { ...opportunistic, demand: { kind: 'public-authority' } };
const demandOfNamed: Readonly<Record<NamedTls, Security>> = {
  opportunistic,
  encrypted: { ...opportunistic, demand: { kind: 'encrypted' } },
  verified: certified,
};
const tlsaPolicy: AppliedPolicy = { type: 'tlsa', strings: [], mx: [] };

export function transportSecurity({ resolver, policyFor, marks, now, log }: TransportParts): Transport {
  const seen = new AnswerCache<Level>(maxDomains);

  async function before(domain: string): Promise<Level | undefined> {
    const bytes = await marks.getMark(`tls:${domain}`).catch(() => undefined);
    return levels.find((level) => bytes !== undefined && level === Buffer.from(bytes).toString('latin1'));
  }

  return {
    async of(domain, hop, wish) {
      const isRequired = wish === 'required';
      if (hop.named !== undefined) return isRequired ? certified : demandOfNamed[hop.named.tls ?? 'opportunistic'];
      // RFC 8689 §4.3: no policy of the recipient's side keeps such a message from going.
      if (wish === 'optional') return opportunistic;
      // An address has neither a policy nor a name that a certificate could be for.
      if (hop.name === hop.address) {
        const why = 'the message requires TLS, and no certificate is for an address';
        return isRequired ? { kind: 'unprovable', why } : opportunistic;
      }
      if (hop.validated === true) {
        const dane = await daneOf(hop.name, hop.port, resolver);
        if (dane.kind === 'unknown') {
          const why = `whether it has TLSA records (DANE) could not be found out: ${dane.why}`;
          return { kind: 'refused', why, policy: tlsaPolicy, type: 'dnssec-invalid' };
        }
        // RFC 8461 §2: DANE comes first.
        if (dane.kind === 'demand' && (!isRequired || dane.demand.kind === 'dane'))
          return { kind: 'demand', demand: dane.demand, by: 'dane', policy: tlsaPolicy };
      }
      const policy = await policyFor(domain);
      if (isRequired) return requiredOf(domain, hop, policy);
      if (policy === undefined || policy === 'unknown' || policy.mode === 'none') return opportunistic;
      const named = namesServer(policy.mx, hop.name);
      const applied = appliedPolicy(policy);
      const notNamed = `the MTA-STS policy of ${domain} does not name this server`;
      if (policy.mode === 'testing') {
        if (!named)
          log.warn(
            { domain, server: hop.name },
            'a mail server is not named by the MTA-STS policy of its domain, which is only being tested',
          );
        return { ...opportunistic, policy: applied, ...(named ? {} : { tested: notNamed }) };
      }
      if (!named) return { kind: 'refused', why: notNamed, policy: applied, type: 'validation-failure' };
      return { kind: 'demand', demand: { kind: 'public-authority' }, by: 'mta-sts', policy: applied };
    },

    async reached(domain, level) {
      if (seen.get(domain, now())?.value === level) return false;
      const known = await before(domain);
      seen.set(domain, level, freshMs, now());
      // Without its memory a fall is not noticed; mail goes on.
      await marks.setMark(`tls:${domain}`, Buffer.from(level), now() + rememberMs).catch(() => undefined);
      const fell = known !== undefined && levels.indexOf(level) < levels.indexOf(known);
      if (fell) log.warn({ domain, before: known, now: level }, 'mail went over a less secure connection than before');
      return fell;
    },
  };
}

/**
 * RFC 8689 §4.2.1: a certificate for the server's name, and something that vouches for this name: DNSSEC, the domain's MTA-STS policy (in testing, too: the sender
 * demands it, not the domain), or that it is the recipient's domain itself.
 */
function requiredOf(domain: string, hop: Hop, policy: KnownPolicy): Security {
  if (policy === 'unknown') {
    const why = `whether ${domain} has an MTA-STS policy could not be found out, and the message requires TLS`;
    return { kind: 'refused', why, policy: noPolicy, type: 'sts-policy-fetch-error' };
  }
  if (policy !== undefined && policy.mode !== 'none') {
    return namesServer(policy.mx, hop.name)
      ? { ...certified, by: 'mta-sts', policy: appliedPolicy(policy) }
      : { kind: 'unprovable', why: `the MTA-STS policy of ${domain} does not name this server` };
  }
  if (hop.validated === true || hop.name === domain) return certified;
  const why = `the message requires TLS, and neither DNSSEC nor an MTA-STS policy of ${domain} vouches for the name of this server`;
  return { kind: 'unprovable', why };
}

/** As the domain published it, but in our order of lines. */
function appliedPolicy({ mode, mx, maxAgeMs }: StsPolicy): AppliedPolicy {
  const strings = [
    'version: STSv1',
    `mode: ${mode}`,
    ...mx.map((name) => `mx: ${name}`),
    `max_age: ${maxAgeMs / 1_000}`,
  ];
  return { type: 'sts', strings, mx };
}
