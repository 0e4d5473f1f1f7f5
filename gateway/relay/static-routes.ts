/** Hosts that the operator named for outgoing mail: for single domains and what is below them, and one for all others. Pure. */

export interface HostLogin {
  readonly user: string;
  /** Asked for at each new connection, so that a changed one is used at once. */
  readonly password: () => string;
}

/** How much a host that the operator named has to prove: nothing, TLS with any certificate, or a certificate that is valid for its name. */
export const namedTls = ['opportunistic', 'encrypted', 'verified'] as const;
export type NamedTls = (typeof namedTls)[number];

export interface NamedHost {
  readonly host: string;
  readonly port: number;
  readonly tls?: NamedTls;
  /** Sent under TLS alone. */
  readonly login?: HostLogin;
}

export interface StaticRoute {
  /** Canonical domains; `*.example.net` is everything below example.net, and not this itself. */
  readonly to: readonly string[];
  /** `mx`: to the domain's own mail servers, whatever the smarthost is. */
  readonly via: NamedHost | 'mx';
}

/** What is named for a domain: by its own name, else by the nearest star above it, else the smarthost. Undefined: its own mail servers. */
export type NamedRoute = (domain: string) => NamedHost | undefined;

export function namedRoute(routes: readonly StaticRoute[], smarthost: NamedHost | undefined): NamedRoute {
  const byPattern = new Map(routes.flatMap(({ to, via }) => to.map((pattern) => [pattern, via] as const)));
  return (domain) => {
    const found = [domain, ...starsAbove(domain)].find((pattern) => byPattern.has(pattern));
    const via = found === undefined ? smarthost : byPattern.get(found);
    return via === 'mx' ? undefined : via;
  };
}

/** `a.b.example` -> `*.b.example`, `*.example`. */
function starsAbove(domain: string): string[] {
  const labels = domain.split('.');
  return labels.slice(1).map((_, above) => `*.${labels.slice(above + 1).join('.')}`);
}
