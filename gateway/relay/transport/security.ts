/** What a connection to a mail server has to prove before mail for a domain goes through it, and what was reached. */

import type { Resolver } from '../../dns/answer.ts';
import { AnswerCache } from '../../dns/answer-cache.ts';
import type { Hop } from '../route.ts';
import type { TlsDemand } from '../smtp/tls-demand.ts';
import { daneOf } from './dane.ts';
import { namesServer, type StsPolicy } from './mta-sts.ts';
import type { Marks } from './sts-book.ts';

/** From weak to strong. */
export const levels = ['plain', 'encrypted', 'verified'] as const;
export type Level = (typeof levels)[number];

export type Security =
  | { readonly kind: 'demand'; readonly demand: TlsDemand; readonly by: 'none' | 'mta-sts' | 'dane' }
  /** This server must not be used now. */
  | { readonly kind: 'refused'; readonly why: string };

export interface TransportParts {
  readonly resolver: Resolver;
  readonly policyFor: (domain: string) => Promise<StsPolicy | undefined>;
  readonly marks: Marks;
  readonly now: () => number;
  readonly log: { warn(fields: object, message: string): void };
}

export interface Transport {
  /** For one server of a domain. Never throws. */
  of(domain: string, hop: Hop): Promise<Security>;
  /** What the connection that took the mail had. True where that is less than it was before. */
  reached(domain: string, level: Level): Promise<boolean>;
}

// A quarter: longer than any outage of TLS, shorter than the memory of whoever would have to explain it.
const rememberMs = 90 * 24 * 3_600_000;
// Written again once a week at the most, so that it does not end while mail goes there.
const freshMs = 7 * 24 * 3_600_000;
const maxDomains = 20_000;

const opportunistic: Security = { kind: 'demand', demand: { kind: 'opportunistic' }, by: 'none' };

export function transportSecurity({ resolver, policyFor, marks, now, log }: TransportParts): Transport {
  const seen = new AnswerCache<Level>(maxDomains);

  async function before(domain: string): Promise<Level | undefined> {
    const bytes = await marks.getMark(`tls:${domain}`).catch(() => undefined);
    return levels.find((level) => bytes !== undefined && level === Buffer.from(bytes).toString('latin1'));
  }

  return {
    async of(domain, hop) {
      if (hop.isSmarthost === true) return opportunistic;
      if (hop.validated === true) {
        const dane = await daneOf(hop.name, hop.port, resolver);
        if (dane.kind === 'unknown') {
          return { kind: 'refused', why: `whether it has TLSA records (DANE) could not be found out: ${dane.why}` };
        }
        // RFC 8461 §2: DANE comes first.
        if (dane.kind === 'demand') return { kind: 'demand', demand: dane.demand, by: 'dane' };
      }
      const policy = await policyFor(domain);
      if (policy === undefined || policy.mode === 'none') return opportunistic;
      const named = namesServer(policy.mx, hop.name);
      if (policy.mode === 'testing') {
        if (!named)
          log.warn(
            { domain, server: hop.name },
            'a mail server is not named by the MTA-STS policy of its domain, which is only being tested',
          );
        return opportunistic;
      }
      if (!named) return { kind: 'refused', why: `the MTA-STS policy of ${domain} does not name this server` };
      return { kind: 'demand', demand: { kind: 'public-authority' }, by: 'mta-sts' };
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
