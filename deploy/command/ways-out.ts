import type { NamedHost } from '../../gateway/relay/static-routes.ts';
import type { GatewaySection } from '../config/schema.ts';
import { deliverySettings } from '../process/delivery-settings.ts';

// What a log would hear is told as a fault here.
const silent = { error: (): void => undefined };

/** Where mail goes out that does not go to the recipients' own mail servers, in lines. Throws InputFault where the file of a password cannot be read. */
export function waysOut(section: GatewaySection): string[] {
  const { routes = [], smarthost } = deliverySettings(section, silent);
  return [
    ...routes.map(({ to, via }) => way(to.join(', '), via)),
    ...(smarthost === undefined ? [] : [way(routes.length === 0 ? 'everybody outside' : 'all others', smarthost)]),
  ];
}

function way(whom: string, via: NamedHost | 'mx'): string {
  if (via === 'mx') return `mail for ${whom} goes to the domain's own mail servers`;
  const { host, port, tls, login } = via;
  const as = login === undefined ? '' : `, as ${login.user}`;
  // Whoever stands between can take a password that is given to any certificate.
  const risk =
    login === undefined || tls === 'verified' ? '' : '; the password goes to any certificate: verified is safer';
  return `mail for ${whom} goes to ${host} port ${port} (TLS ${tls}${as}${risk})`;
}
