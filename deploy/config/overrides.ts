import type { RingDescriptor } from '../../node/identity/ring.ts';
import { InputFault } from './problem.ts';
import type { Config } from './schema.ts';
import { defaultPorts } from './template.ts';

/** What the command line of a start may change for this run; the file stays as it is. */
export interface Overrides {
  readonly [option: string]: string;
}

/** The configuration with the options of this start in place of what the file says. */
export function withOverrides(config: Config, given: Overrides, ring: RingDescriptor): Config {
  const { domain } = given;
  if (domain !== undefined && domain.toLowerCase() !== ring.name) {
    throw new InputFault([
      {
        file: 'command line',
        path: '--domain',
        found: domain,
        expected: `${ring.name}, the ring of this home`,
        suggestion: 'leave it out, or choose another --home for another ring',
      },
    ]);
  }
  const based = given['port-base'] === undefined ? config : onPortBase(config, Number(given['port-base']));
  const named = given['hostname'] === undefined ? based : { ...based, hostname: given['hostname'] };
  const { gateway } = named;
  if (gateway === undefined) return named;
  const { keepFinished, maxAge } = gateway.queue;
  const { dns, smarthost, 'mx-port': mxPort, 'redis-url': redis } = given;
  return {
    ...named,
    gateway: {
      ...gateway,
      ...(dns === undefined ? {} : { dns: { ...gateway.dns, servers: [dns] } }),
      ...(redis === undefined ? {} : { queue: { keepFinished, maxAge, kind: 'redis' as const, url: redis } }),
      delivery: {
        ...gateway.delivery,
        ...(smarthost === undefined ? {} : { smarthost }),
        ...(mxPort === undefined ? {} : { mxPort: Number(mxPort) }),
      },
    },
  };
}

function onPortBase(config: Config, base: number): Config {
  const { access, gateway, http, node } = config;
  const port = (name: keyof typeof defaultPorts): number => defaultPorts[name] + base;
  return {
    ...config,
    node: { ...node, listen: node.listen.map((address) => address.replace(/\/tcp\/[0-9]+$/, `/tcp/${port('ring')}`)) },
    access: {
      ...access,
      submission: { ...access.submission, port: port('submission') },
      ...(access.submissions === undefined
        ? {}
        : { submissions: { ...access.submissions, port: port('submissions') } }),
      imap: { ...access.imap, port: port('imap') },
      imaps: { ...access.imaps, port: port('imaps') },
    },
    ...(gateway === undefined ? {} : { gateway: { ...gateway, mx: { ...gateway.mx, port: port('mx') } } }),
    http: http === null ? null : { ...http, port: port('http') },
  };
}
