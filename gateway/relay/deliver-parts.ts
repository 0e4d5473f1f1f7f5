/** What an attempt at delivery is given. */
import type { Resolver } from '../dns/answer.ts';
import type { ReturnPaths } from '../returns/return-path.ts';
import type { RetrySettings } from './backoff.ts';
import type { Ledger } from './ledger.ts';
import type { NoticeFacts } from './notice.ts';
import type { HostPace } from './pace/host-pace.ts';
import type { SmtpPool } from './pool.ts';
import type { ResolverWatch } from './resolver-watch.ts';
import type { RouteOptions } from './route.ts';
import type { Suppression } from './suppression.ts';
import type { SessionResult } from './tls-report/session-result.ts';
import type { Transport } from './transport/security.ts';

export type Told =
  | { readonly kind: 'sent' | 'no-such-user' }
  | { readonly kind: 'later' | 'never'; readonly reason: string };

export interface RelayLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export type Trace = (
  id: string,
  event: { what: string; [fact: string]: string | number | boolean | readonly string[] | undefined },
) => void;

export interface DeliverParts {
  readonly resolver: Resolver;
  readonly pool: SmtpPool;
  readonly transport: Transport;
  /** What a try proved of TLS, for the domain's reports (RFC 8460). */
  readonly tlsResult: (result: SessionResult) => void;
  readonly ledger: Ledger;
  readonly pace: Pick<HostPace, 'recall' | 'admit' | 'began'>;
  readonly resolverWatch: Pick<ResolverWatch, 'isBroken'>;
  readonly suppression: Pick<Suppression, 'look' | 'refused' | 'clear'>;
  readonly hostname: string;
  /** What goes out as reverse-path. */
  readonly returnPaths: Pick<ReturnPaths, 'sign'>;
  readonly route: Omit<RouteOptions, 'resolver' | 'random'>;
  readonly retry: RetrySettings;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: RelayLog;
  readonly trace: Trace;
  /** Fetches a message that the ring keeps. */
  readonly fetch: (ref: unknown) => Promise<Uint8Array>;
  /** Puts a notice into the inbox of this identity. */
  readonly notifyFailure: (facts: NoticeFacts, identity: string) => Promise<Told>;
}
