import { stringify } from 'yaml';
import type { z } from 'zod';
import type { sharedDelivery } from './schema.ts';

export interface Choices {
  readonly domain: string;
  readonly hostname: string;
  /** Added to each default port. */
  readonly portBase: number;
  readonly dns: readonly string[];
  readonly smarthost?: string | undefined;
  /** What another gateway of the ring says of ways out. */
  readonly delivery?: z.infer<typeof sharedDelivery> | undefined;
  /** The queue lies in this Redis; in the home where it is absent. */
  readonly redisUrl?: string | undefined;
  readonly mxPort: number;
  readonly postmaster: string;
  /** False on a machine that only joins: it runs a node and no gateway. */
  readonly gateway: boolean;
}

// DESIGN: unprivileged ports that say what they are (25, 587, 465, 143, 993 with a leading digit); the ring's own after them.
export const defaultPorts = {
  mx: 2525,
  submission: 1587,
  submissions: 1465,
  imap: 1143,
  imaps: 1993,
  http: 8025,
  ring: 7525,
} as const;

/** The largest value that `--port-base` can have with all ports still below 65536. */
export const maxPortBase = 65_535 - Math.max(...Object.values(defaultPorts));

// A scalar as YAML writes it, quoted where it must be.
const scalar = (value: string | number | boolean | null): string => stringify(value).trimEnd();
const flow = (values: readonly string[]): string => `[${values.map(scalar).join(', ')}]`;

/** The commented configuration that `epost init` writes. */
export function configText(choices: Choices): string {
  const port = (name: keyof typeof defaultPorts): number => defaultPorts[name] + choices.portBase;
  return `# ePOST configuration. \`epost check\` and every start check it; a mistake is named with its line.
version: 1

# The name in greetings, Received fields and authentication results. Its A/AAAA record must point here.
hostname: ${scalar(choices.hostname)}

# The POST node of this machine in the ring. Other machines reach it at these multiaddrs; loopback means: this machine only.
node:
  listen: [/ip4/127.0.0.1/tcp/${port('ring')}]
  # What other machines are told instead of the addresses above, for instance [/ip4/192.0.2.7/tcp/7525].
  announce: []
  # What this node keeps for the ring: bytes for one identity, bytes that one owner's nodes bring for others, and how long what nobody
  # refers to any more stays, and what a revoked identity has.
  store: {quota: 20GiB, quotaForOthers: 200GiB, trash: 7d, gone: 180d}

# For the mail programs of the users whose mailboxes live here.
access:
  submission: {host: 127.0.0.1, port: ${port('submission')}}
  submissions: {host: 127.0.0.1, port: ${port('submissions')}}
  imap: {host: 127.0.0.1, port: ${port('imap')}}
  imaps: {host: 127.0.0.1, port: ${port('imaps')}}
  # A change of flags (read, flagged, …) is answered once its writing has begun, unless an older one is not written after this long: so much a power cut
  # may lose of flags, and of nothing else. 0s: it is answered when it is written.
  flagDelay: 250ms
${choices.gateway ? gatewayText(choices, port('mx')) : '\n# No gateway runs here; `epost init` on the first machine made one.\n'}
# Health (/healthz, /readyz) and Prometheus metrics (/metrics). Keep it on loopback. null switches it off.
http: {host: 127.0.0.1, port: ${port('http')}}

# PEM files, relative to this home. Self-signed until you put your own there; they are read again on SIGHUP. The MX listener shows one of
# \`others: [{certificate: …, key: …}]\` to hosts that ask for a name in it (SNI), and this one to all others.
tls: {certificate: tls/cert.pem, key: tls/key.pem}

log: {level: info}          # debug, info, warn or error
`;
}

function gatewayText(choices: Choices, mxPort: number): string {
  return `
# The gateway between the ring and ordinary Internet mail.
gateway:
  # Where the Internet's mail comes in. As the MX host of a domain: {host: '::', port: 25}.
  mx: {host: 127.0.0.1, port: ${mxPort}}

  # Further addresses of ring users (RFC 5321 §4.5.1 wants postmaster, RFC 2142 abuse).
  aliases:
    ${scalar(`postmaster@${choices.domain}`)}: ${scalar(choices.postmaster)}
    ${scalar(`abuse@${choices.domain}`)}: ${scalar(choices.postmaster)}

  # Resolvers for all mail lookups, HOST:PORT each; empty takes the system's.
  # lists: DNS lists (RFC 5782) of client addresses and of domains, for instance {block: [zen.spamhaus.org]}. They are asked about each
  # message, and of addresses already at the greeting where a rule there asks; what they say is evidence (dnslist.block and so on), and does
  # nothing until a rule of policy.yaml names it.
  # validating: true where these servers validate DNSSEC and the way to them is safe (best: one on this machine); DANE needs it.
  dns: {servers: ${flow(choices.dns)}, validating: false, lists: {block: [], allow: [], domains: []}}

  delivery:
    # HOST:PORT that takes all outgoing mail, or null: straight to the recipients' MX hosts.
    smarthost: ${scalar(choices.smarthost ?? null)}
    # Where it asks for a login: {user: NAME, passwordFile: /path}; the password is the first line of the file, and goes under TLS alone.
    smarthostAuth: ${JSON.stringify(choices.delivery?.smarthostAuth ?? null)}
    # What it has to prove: opportunistic (TLS where it offers it), encrypted (TLS with any certificate), verified (a certificate for its name).
    smarthostTls: ${choices.delivery?.smarthostTls ?? 'opportunistic'}
    # Other ways for single domains, before the smarthost: '*.example.net' is what lies below example.net; via: mx is the domain's own hosts.
    # For instance [{to: [example.net, '*.example.net'], via: 'mail.example.net:587', tls: verified, login: {user: NAME, passwordFile: /path}}].
    routes: ${JSON.stringify(choices.delivery?.routes ?? [])}
    # The port of the MX hosts. Anything but 25 is for try-outs.
    mxPort: ${choices.mxPort}
    # Whether mail may go to hosts with loopback or private addresses. A smarthost may always have one; so may
    # MX hosts when mxPort is not 25 or all resolvers above are on loopback (a try-out).
    allowPrivate: false
    # Whether users may write to an address instead of a domain, as in user@[192.0.2.1]; to private ones only as said above.
    addressLiterals: ${choices.delivery?.addressLiterals ?? false}
    # Waits between attempts double from first to max, with jitter; then the sender gets a notice.
    retry: {first: 60s, max: 4h, giveUp: 5d}

  # true: each day the domains that ask for it (_smtp._tls, RFC 8460) are told how secure the connections to their mail hosts were, by mail from
  # postmaster or over HTTPS. Off by default, since nobody should send mail to strangers without having been told to; \`epost tls report\` shows
  # the same either way.
  tlsReports: false

  # How much mail that no person sends goes out: reports of ours, notices to users, and what users' programs send by themselves
  # (Auto-Submitted, null return path; these for each user and domain). More of it waits, so that machines that answer each other do it slowly.
  automatic: {perAddress: 100/h, total: 10000/h}

  # embedded, or for several gateways that share one queue: {kind: redis, url: 'redis://127.0.0.1:6379/0'}.
  # That Redis needs appendonly yes, appendfsync always, maxmemory-policy noeviction.
  # keepFinished (7d): how long finished mail stays visible with every attempt; maxAge (30d): what waits or is held longer goes back to its sender.
  # With less room than minFree on the disk of an embedded queue no mail is taken and deliveries pause, until there is more.
  queue: ${choices.redisUrl === undefined ? '{kind: embedded, minFree: 256MiB}' : `{kind: redis, url: ${JSON.stringify(choices.redisUrl)}}`}

  # ClamAV and rspamd on this machine, for instance {clamav: /run/clamav/clamd.ctl, rspamd: '127.0.0.1:11333'}. They are asked about each
  # message; the standard policy refuses what ClamAV finds, and has mail wait while it does not answer.
  scan: {clamav: null, rspamd: null, timeout: 10s}

  # Clients without connection limits (they still pass policy), and proxies whose PROXY header is believed.
  exempt: [127.0.0.0/8, '::1']
  proxies: []
`;
}
