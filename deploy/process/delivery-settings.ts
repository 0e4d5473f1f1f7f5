import { networkInterfaces } from 'node:os';
import { isPublicAddress } from '../../gateway/relay/addresses.ts';
import type { RelaySettings } from '../../gateway/relay/relay.ts';
import type { NamedHost, NamedTls } from '../../gateway/relay/static-routes.ts';
import { type GatewaySection, parseHostPort } from '../config/schema.ts';
import { hostLogin, type LoginLog } from './host-login.ts';

/** What the relay is told of a configuration. Throws InputFault where a file of a password cannot be read. */
export function deliverySettings(section: GatewaySection, log: LoginLog): RelaySettings {
  const { smarthost, smarthostAuth, smarthostTls, routes, mxPort, allowPrivate, addressLiterals, retry } =
    section.delivery;
  // On port 53 of this machine stands a real resolver, such as the validating one that DANE wants; only a trial's zone has another port.
  const onLoopback =
    section.dns.servers.length > 0 &&
    section.dns.servers.every((server) => /^(?:127\.|\[::1\])/.test(server) && !server.endsWith(':53'));
  const everything = smarthost === null ? undefined : namedHost(smarthost, smarthostTls, smarthostAuth, log);
  return {
    mxPort,
    // A try-out beside a local zone must be able to deliver there; see the comment in epost.yaml.
    allowPrivate: allowPrivate || mxPort !== 25 || onLoopback,
    addressLiterals,
    ownAddresses: publicAddresses(),
    validating: section.dns.validating,
    ...(everything === undefined ? {} : { smarthost: everything }),
    routes: routes.map(({ to, via, tls, login }) => ({ to, via: namedHost(via, tls, login, log) ?? 'mx' })),
    retry: { firstMs: retry.first, maxMs: retry.max, giveUpMs: retry.giveUp },
  };
}

/** Undefined for `mx`. */
function namedHost(
  via: string,
  tls: NamedTls,
  login: { readonly user: string; readonly passwordFile: string } | null,
  log: LoginLog,
): NamedHost | undefined {
  const host = parseHostPort(via);
  return host === undefined ? undefined : { ...host, tls, ...(login === null ? {} : { login: hostLogin(login, log) }) };
}

/** Behind a translator of addresses there are none; then names alone tell that mail would come back. */
function publicAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((some) => some ?? []);
  return all.map(({ address }) => address).filter(isPublicAddress);
}
