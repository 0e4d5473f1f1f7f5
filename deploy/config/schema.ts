import { isIP } from 'node:net';
import { z } from 'zod';
import { namedTls } from '../../gateway/relay/static-routes.ts';
import { readEndpoint } from '../../gateway/scan/endpoint.ts';
import { parseAddress, parseDomain } from '../../policy/address.ts';

// One table makes both the check and the commented file that `epost init` writes (template.ts uses the descriptions).

const portNumber = z.int().min(0).max(65_535);
const listener = (what: string) =>
  z.strictObject({ host: z.string().min(1), port: portNumber.describe('0 takes any free port') }).describe(what);

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const duration = z
  .string()
  .regex(/^[0-9]{1,9}(?:ms|s|m|h|d)$/, 'expected a number and a unit: ms, s, m, h or d, for instance 90s')
  .transform((text) => Number.parseInt(text, 10) * (durationUnits[text.replace(/^[0-9]+/, '')] ?? 1));

const sizeUnits: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
const size = z
  .string()
  .regex(/^[0-9]{1,6}(?:KiB|MiB|GiB)$/, 'expected a number and a unit: KiB, MiB or GiB, for instance 256MiB')
  .transform((text) => Number.parseInt(text, 10) * (sizeUnits[text.replace(/^[0-9]+/, '')] ?? 1));

const rateUnits: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const rate = z
  .string()
  .regex(/^[1-9][0-9]{0,8}\/[smhd]$/, 'expected a number and a time: s, m, h or d, for instance 100/h')
  .transform((text) => {
    const amount = Number.parseInt(text, 10);
    return { amount, perMs: rateUnits[text.slice(-1)] ?? 1, burst: amount };
  });

const hostLogin = z
  .strictObject({ user: z.string().min(1), passwordFile: z.string().min(1) })
  .nullable()
  .default(null)
  .describe('the password is the first line of the file, which only this user should be able to read');

/** A domain, or a star and all domains below one; canonical. */
const routedDomain = z.string().transform((text, context) => {
  const [, star = '', name = ''] = /^(\*\.)?(.*)$/s.exec(text) ?? [];
  const domain = parseDomain(name);
  if (domain !== undefined) return `${star}${domain}`;
  context.addIssue({
    code: 'custom',
    message: 'expected a domain such as example.net, or *.example.net for all below it',
  });
  return z.NEVER;
});

const staticRoute = z
  .strictObject({
    to: z.array(routedDomain).min(1).max(100),
    via: z
      .string()
      .refine(
        (text) => text === 'mx' || parseHostPort(text) !== undefined,
        'expected HOST:PORT, or mx for the domain’s own mail servers',
      ),
    tls: z.enum(namedTls).default('opportunistic'),
    login: hostLogin,
  })
  .superRefine(({ via, tls, login }, context) => {
    const wrong = (key: string, message: string): void => context.addIssue({ code: 'custom', path: [key], message });
    if (via === 'mx' && tls !== 'opportunistic')
      wrong('tls', 'expected no tls beside via: mx, where MTA-STS and DANE of the domain decide');
    if (via === 'mx' && login !== null) wrong('login', 'expected no login beside via: mx');
    if (tls === 'verified' && isIP(parseHostPort(via)?.host ?? '') !== 0)
      wrong('tls', 'expected a host name in via: no certificate is verified for an address');
  });

// Each is a line of the configuration; a mail host for many customers has some hundred.
const staticRoutes = z
  .array(staticRoute)
  .max(500)
  .default([])
  .superRefine((routes, context) => {
    const seen = new Set<string>();
    for (const [route, { to }] of routes.entries())
      for (const [place, domain] of to.entries()) {
        if (seen.has(domain))
          context.addIssue({
            code: 'custom',
            path: [route, 'to', place],
            message: 'expected each domain in one place only',
          });
        seen.add(domain);
      }
  });

/** Ways out that hold for all gateways of a ring. */
export const sharedDelivery = z.strictObject({
  smarthostAuth: hostLogin,
  smarthostTls: z.enum(namedTls).default('opportunistic'),
  routes: staticRoutes,
  addressLiterals: z.boolean().default(false),
});

/** How long finished jobs stay visible, and how long anything may wait at all. */
const keeping = {
  keepFinished: duration.refine((ms) => ms >= 3_600_000 && ms <= 90 * 86_400_000, 'expected 1h to 90d').prefault('7d'),
  maxAge: duration
    .refine((ms) => ms >= 6 * 86_400_000 && ms <= 365 * 86_400_000, 'expected 6d to 365d')
    .prefault('30d'),
};

const address = z.string().transform((text, context) => {
  const parsed = parseAddress(text);
  if (parsed.kind === 'address') return parsed.address;
  context.addIssue({ code: 'custom', message: `expected a mail address: ${parsed.reason}` });
  return z.NEVER;
});

const hostPort = z
  .string()
  .refine((text) => parseHostPort(text) !== undefined, 'expected HOST:PORT, for instance 127.0.0.1:5353 or [::1]:53');
const network = z.string().refine(isNetwork, 'expected an IP address or a network such as 10.0.0.0/8');

const dnsZone = z
  .string()
  .transform((text) => text.toLowerCase())
  .refine((text) => parseDomain(text) !== undefined, 'expected the zone of a DNS list, for instance zen.spamhaus.org');
const scanner = z
  .string()
  .refine(
    (text) => readEndpoint(text) !== undefined,
    'expected the path of a Unix socket, or a loopback address such as 127.0.0.1:11333',
  );
// Half of the minute in which a message is decided.
const maxScanMs = 30_000;

// Each is asked about each message, within the message's budget of lookups.
const dnsZones = z.array(dnsZone).max(8).default([]);

const pemPair = z.strictObject({ certificate: z.string().min(1), key: z.string().min(1) });

export const configSchema = z.strictObject({
  version: z.literal(1),
  hostname: z
    .string()
    .refine((text) => parseDomain(text) !== undefined, 'expected a host name, for instance mx.example.org')
    .describe('the name in greetings, in Received fields and in the results we put on; the A/AAAA record must exist'),
  node: z.strictObject({
    listen: z.array(z.string().startsWith('/', 'expected a multiaddr such as /ip4/0.0.0.0/tcp/7525')).min(1),
    announce: z.array(z.string().startsWith('/', 'expected a multiaddr such as /ip4/192.0.2.7/tcp/7525')).default([]),
    store: z
      .strictObject({
        quota: size.prefault('20GiB').describe('bytes of one identity in the ring; each holder allows its share'),
        quotaForOthers: size
          .prefault('200GiB')
          .describe('bytes that one owner’s nodes may bring in others’ names before these confirm them'),
        trash: duration.prefault('7d').describe('how long what nobody refers to any more stays readable'),
        gone: duration.prefault('180d').describe('how long what a revoked or removed identity has is kept'),
      })
      .prefault({}),
  }),
  access: z.strictObject({
    submission: listener('submission for users’ mail programs (STARTTLS)'),
    submissions: listener('submission over TLS from the first octet (RFC 8314); none where it is absent').optional(),
    imap: listener('IMAP (STARTTLS)'),
    imaps: listener('IMAP over TLS'),
    flagDelay: duration
      .refine((ms) => ms <= 10_000, 'expected 0s to 10s')
      .prefault('250ms')
      .describe(
        'a change of flags is answered once its writing has begun, unless an older one is not written after this long; 0s: when it is written',
      ),
  }),
  gateway: z
    .strictObject({
      mx: listener('where Internet mail comes in'),
      aliases: z.record(z.string(), address).default({}),
      dns: z
        .strictObject({
          servers: z.array(hostPort).max(8).default([]),
          validating: z.boolean().default(false),
          lists: z
            .strictObject({ block: dnsZones, allow: dnsZones, domains: dnsZones })
            .prefault({})
            .describe('DNS lists (RFC 5782) that are asked about each message; what they say is evidence for policy'),
        })
        .prefault({}),
      delivery: z
        .strictObject({
          smarthost: hostPort.nullable().default(null),
          ...sharedDelivery.shape,
          mxPort: z.int().min(1).max(65_535).default(25),
          allowPrivate: z.boolean().default(false),
          retry: z
            .strictObject({
              first: duration.prefault('60s'),
              max: duration.prefault('4h'),
              giveUp: duration.prefault('5d'),
            })
            .prefault({}),
        })
        .prefault({}),
      tlsReports: z
        .boolean()
        .default(false)
        .describe('whether domains that ask for them get reports of TLS (RFC 8460)'),
      automatic: z
        .strictObject({ perAddress: rate.prefault('100/h'), total: rate.prefault('10000/h') })
        .prefault({})
        .describe('how much mail that no person sends may go out; more of it waits'),
      queue: z
        .discriminatedUnion('kind', [
          z.strictObject({
            kind: z.literal('embedded'),
            minFree: size
              .prefault('256MiB')
              .describe('with less room on its disk no mail is taken and deliveries pause, until there is more'),
            ...keeping,
          }),
          z.strictObject({
            kind: z.literal('redis'),
            url: z.string().regex(/^rediss?:\/\//, 'expected redis://HOST:PORT/DB or rediss://…'),
            ...keeping,
          }),
        ])
        .prefault({ kind: 'embedded' }),
      scan: z
        .strictObject({
          clamav: scanner.nullable().default(null),
          rspamd: scanner.nullable().default(null),
          timeout: duration
            .refine((ms) => ms >= 100 && ms <= maxScanMs, 'expected 100ms to 30s')
            .prefault('10s')
            .describe('what has not answered by then is unknown'),
        })
        .prefault({})
        .describe(
          'scanners of content on this machine that are asked about each message; what they say is evidence for policy',
        ),
      exempt: z.array(network).max(100).default(['127.0.0.0/8', '::1']),
      proxies: z.array(network).max(100).default([]),
    })
    .optional(),
  http: listener('health and metrics; keep it on loopback').nullable(),
  // `others`: shown by the MX listener to who asks for a name in them (SNI). A hundred pairs are some megabytes.
  tls: pemPair.extend({ others: z.array(pemPair).max(100).default([]) }),
  log: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).prefault({}),
});

/** A checked configuration: durations are ms, addresses canonical, file names as written (relative to the home). */
export type Config = z.infer<typeof configSchema>;
export type GatewaySection = NonNullable<Config['gateway']>;
export type Listener = Config['access']['imap'];

/** HOST:PORT taken apart, an IPv6 address in brackets; undefined where it is not that. */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const found = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):([0-9]{1,5})$/.exec(text);
  const host = found?.[1] ?? found?.[2];
  const port = Number(found?.[3]);
  if (host === undefined || port < 1 || port > 65_535) return undefined;
  if (found?.[1] !== undefined && isIP(host) !== 6) return undefined;
  return { host, port };
}

function isNetwork(text: string): boolean {
  const [ip = '', bits, ...rest] = text.split('/');
  const version = isIP(ip);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^[0-9]{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}
