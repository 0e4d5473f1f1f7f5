/**
 * THE evidence schema. This one table gives the TypeScript type {@link Evidence}, the declarations that expressions are
 * type-checked against, the check of `given:` in expectations, and the reference text. A new fact is one row here.
 */

export const stages = ['connect', 'mail', 'rcpt', 'data', 'relay', 'notification'] as const;
export type Stage = (typeof stages)[number];

const session: readonly Stage[] = ['connect', 'mail', 'rcpt', 'data'];
const afterGreeting: readonly Stage[] = ['mail', 'rcpt', 'data'];
const senderNamed: readonly Stage[] = ['mail', 'rcpt', 'data', 'relay', 'notification'];
const recipientsNamed: readonly Stage[] = ['rcpt', 'data', 'relay'];
const received: readonly Stage[] = ['data'];
// What the gateway saw travels with the notification, signed.
const told: readonly Stage[] = ['data', 'notification'];
const read: readonly Stage[] = ['data', 'relay'];
const written: readonly Stage[] = ['data', 'relay', 'notification'];
const leaving: readonly Stage[] = ['relay'];
const notified: readonly Stage[] = ['notification'];
const proven: readonly Stage[] = ['relay', 'notification'];

/** One row. `neutral` stands where the fact is not known at a stage; `ordinary` is what expectations assume of an unremarkable message. */
interface FactRow {
  readonly type: 'string' | 'int' | 'bool' | 'list<string>';
  /** For a string: the only values it can have. A fact with the value `unknown` is three-valued. */
  readonly values?: readonly string[];
  readonly stages: readonly Stage[];
  readonly neutral: string | number | boolean | readonly string[];
  readonly ordinary?: string | number | boolean | readonly string[];
  /** This fact cannot be known while that one is `unknown`. */
  readonly unknownWith?: string;
  readonly meaning: string;
}

const reason = {
  type: 'string',
  stages: received,
  neutral: '',
  meaning: 'why the result is what it is, for people',
} as const satisfies FactRow;

function listVerdict<const Meaning extends string>(meaning: Meaning, stages: readonly Stage[]) {
  return {
    type: 'string',
    values: ['listed', 'clear', 'none', 'unknown'],
    stages,
    neutral: 'none',
    meaning,
  } as const satisfies FactRow;
}

function listNames<const Path extends string, const Meaning extends string>(
  unknownWith: Path,
  meaning: Meaning,
  stages: readonly Stage[],
) {
  return { type: 'list<string>', stages, neutral: [], unknownWith, meaning } as const satisfies FactRow;
}

export const facts = {
  client: {
    ip: { type: 'string', stages: session, neutral: '', ordinary: '192.0.2.25', meaning: 'address of the SMTP client' },
    subnet: {
      type: 'string',
      stages: session,
      neutral: '',
      ordinary: '192.0.2.0/24',
      meaning: 'its network: /24 for IPv4, /64 for IPv6',
    },
    wide: {
      type: 'string',
      stages: session,
      neutral: '',
      ordinary: '192.0.0.0/16',
      meaning: 'the network around that: /16 for IPv4, /48 for IPv6',
    },
    loopback: { type: 'bool', stages: session, neutral: false, meaning: 'the client is this machine' },
    name: {
      type: 'string',
      stages: session,
      neutral: '',
      ordinary: 'mail.sender.example',
      meaning: 'name found by reverse DNS, or empty',
    },
    iprev: {
      type: 'string',
      values: ['pass', 'fail', 'none', 'unknown'],
      stages: session,
      neutral: 'none',
      ordinary: 'pass',
      meaning: 'does the name lead back to the address (RFC 8601 §2.7.3)',
    },
    helo: {
      type: 'string',
      stages: afterGreeting,
      neutral: '',
      ordinary: 'mail.sender.example',
      meaning: 'what the client called itself in EHLO or HELO',
    },
  },
  tls: {
    used: {
      type: 'bool',
      stages: afterGreeting,
      neutral: false,
      ordinary: true,
      meaning: 'the connection is encrypted',
    },
    version: { type: 'string', stages: afterGreeting, neutral: '', ordinary: 'TLSv1.3', meaning: 'TLS version' },
    cipher: {
      type: 'string',
      stages: afterGreeting,
      neutral: '',
      ordinary: 'TLS_AES_256_GCM_SHA384',
      meaning: 'TLS cipher suite',
    },
  },
  envelope: {
    from: {
      type: 'string',
      stages: senderNamed,
      neutral: '',
      ordinary: 'friend@sender.example',
      meaning: 'MAIL FROM; empty is the null sender of bounces',
    },
    fromDomain: {
      type: 'string',
      stages: senderNamed,
      neutral: '',
      ordinary: 'sender.example',
      meaning: 'domain of MAIL FROM, or empty',
    },
    recipients: {
      type: 'list<string>',
      stages: recipientsNamed,
      neutral: [],
      ordinary: ['user@example.org'],
      meaning: 'the recipients so far',
    },
    recipientCount: {
      type: 'int',
      stages: recipientsNamed,
      neutral: 0,
      ordinary: 1,
      meaning: 'how many recipients',
    },
  },
  author: {
    kind: {
      type: 'string',
      values: ['single', 'none', 'ambiguous'],
      stages: written,
      neutral: 'none',
      ordinary: 'single',
      meaning: 'whether the From field names exactly one mailbox',
    },
    address: {
      type: 'string',
      stages: written,
      neutral: '',
      ordinary: 'friend@sender.example',
      meaning: 'the one author, or empty',
    },
    domain: {
      type: 'string',
      stages: written,
      neutral: '',
      ordinary: 'sender.example',
      meaning: "the author's domain",
    },
    name: { type: 'string', stages: read, neutral: '', ordinary: 'A Friend', meaning: 'display name in From' },
  },
  spf: {
    result: {
      type: 'string',
      values: ['pass', 'fail', 'softfail', 'neutral', 'none', 'unknown'],
      stages: told,
      neutral: 'none',
      meaning: 'SPF of the envelope sender (RFC 7208); temperror is unknown',
    },
    domain: { type: 'string', stages: told, neutral: '', meaning: 'the domain SPF was checked for' },
    reason,
  },
  dkim: {
    result: {
      type: 'string',
      values: ['pass', 'fail', 'none', 'unknown'],
      stages: told,
      neutral: 'none',
      meaning: 'pass if any signature verifies (RFC 6376)',
    },
    domains: {
      type: 'list<string>',
      stages: told,
      neutral: [],
      unknownWith: 'dkim.result',
      meaning: 'the domains whose signatures verify',
    },
    reason,
  },
  dmarc: {
    result: {
      type: 'string',
      values: ['pass', 'fail', 'none', 'unknown'],
      stages: told,
      neutral: 'none',
      meaning: "DMARC of the author's domain (RFC 9989); none: it publishes no policy",
    },
    policy: {
      type: 'string',
      values: ['none', 'quarantine', 'reject'],
      stages: told,
      neutral: 'none',
      unknownWith: 'dmarc.result',
      meaning: 'what the domain asks for when DMARC fails',
    },
    domain: {
      type: 'string',
      stages: told,
      neutral: '',
      unknownWith: 'dmarc.result',
      meaning: 'the domain whose policy applies',
    },
    reason,
  },
  arc: {
    result: {
      type: 'string',
      values: ['pass', 'fail', 'none', 'unknown'],
      stages: told,
      neutral: 'none',
      meaning: 'validity of the ARC chain (RFC 8617)',
    },
    sealer: {
      type: 'string',
      stages: told,
      neutral: '',
      unknownWith: 'arc.result',
      meaning: 'domain that sealed the chain last',
    },
    reason,
  },
  dnslist: {
    block: listVerdict('the client is on a block list (RFC 5782); none: no list is asked', session),
    blockedBy: listNames('dnslist.block', 'the block lists it is on', session),
    allow: listVerdict('the client is on an allow list; none: no list is asked', session),
    allowedBy: listNames('dnslist.allow', 'the allow lists it is on', session),
    domain: listVerdict(
      "the author's or the envelope's domain is on a list of domains; none: no list is asked",
      received,
    ),
    domainListedBy: listNames('dnslist.domain', 'the lists of domains it is on', received),
  },
  bounce: {
    result: {
      type: 'string',
      values: ['none', 'pass', 'fail'],
      stages: received,
      neutral: 'none',
      meaning:
        'with the null sender: pass came back to a return path of ours; fail is a failure report that did not; none is no bounce',
    },
  },
  identity: {
    verified: {
      type: 'bool',
      stages: proven,
      neutral: false,
      ordinary: true,
      meaning: 'the sender proved a certified, unrevoked identity by signature',
    },
    address: { type: 'string', stages: proven, neutral: '', ordinary: 'user@example.org', meaning: 'the identity' },
    ring: {
      type: 'string',
      stages: proven,
      neutral: '',
      ordinary: 'example.org',
      meaning: 'the ring that certified it',
    },
    kind: {
      type: 'string',
      values: ['', 'user', 'gateway', 'list', 'service'],
      stages: proven,
      neutral: '',
      ordinary: 'user',
      meaning: 'kind of identity; empty where there is none',
    },
    certificateAgeDays: { type: 'int', stages: proven, neutral: 0, ordinary: 400, meaning: 'age of its certificate' },
    key: {
      type: 'string',
      stages: proven,
      neutral: '',
      ordinary: '5e884898da28047151d0e56f8dc62927',
      meaning: 'the person: fingerprint of the key that signed (the first 32 hexadecimal digits of its SHA-256)',
    },
    issuer: {
      type: 'string',
      stages: proven,
      neutral: '',
      ordinary: '2c26b46b68ffc68ff99b453c1d304134',
      meaning: 'who vouches for it: fingerprint of the key of the authority that certified it',
    },
    standing: {
      type: 'string',
      values: ['good', 'slowed', 'blocked'],
      stages: proven,
      neutral: 'good',
      meaning: 'what the authority says of it or of its ring (`epost identity block`, `slow`)',
    },
  },
  carried: {
    on: {
      type: 'string',
      values: ['no', 'forward', 'list'],
      stages: leaving,
      neutral: 'no',
      meaning: 'others wrote it, and the identity carries it on: its own forwarding, or it is a list',
    },
  },
  organisation: {
    verdict: {
      type: 'string',
      values: ['accept', 'junk'],
      stages: notified,
      neutral: 'accept',
      meaning: 'what the policy of the gateway came to',
    },
    rule: {
      type: 'string',
      stages: notified,
      neutral: '',
      meaning: 'the rule of that policy; empty for mail from inside the ring',
    },
  },
  message: {
    bytes: { type: 'int', stages: written, neutral: 0, ordinary: 4096, meaning: 'size of the message' },
    hasMessageId: { type: 'bool', stages: read, neutral: false, ordinary: true, meaning: 'has a Message-ID field' },
    receivedCount: { type: 'int', stages: read, neutral: 0, ordinary: 1, meaning: 'how many Received fields' },
    autoSubmitted: {
      type: 'bool',
      stages: read,
      neutral: false,
      meaning: 'Auto-Submitted says that no person sent it (RFC 3834 §5)',
    },
    listId: { type: 'string', stages: read, neutral: '', meaning: 'List-Id (RFC 2919), or empty' },
    eightBitHeader: {
      type: 'bool',
      stages: read,
      neutral: false,
      meaning:
        'octets above 127 in the header of a message from outside that was sent without SMTPUTF8 (RFC 6531 §3.4)',
    },
  },
  history: {
    seenSender: {
      type: 'bool',
      stages: written,
      neutral: false,
      meaning: 'this author was accepted here before; at notification: by this user',
    },
    wroteTo: { type: 'bool', stages: notified, neutral: false, meaning: 'this user wrote to this author before' },
    firstTimeRecipients: {
      type: 'int',
      stages: read,
      neutral: 0,
      meaning: 'how many recipients this sender never wrote to before',
    },
  },
  volume: {
    lastHour: {
      type: 'int',
      stages: leaving,
      neutral: 0,
      ordinary: 1,
      meaning: 'recipients this identity wrote to within the last hour, those of this message included',
    },
    usual: {
      type: 'int',
      stages: leaving,
      neutral: 0,
      ordinary: 10,
      meaning: 'what is usual for it in an hour in which it writes: an average that slowly forgets; at least 10',
    },
    timesUsual: { type: 'int', stages: leaving, neutral: 0, meaning: 'how many times the usual the last hour is' },
  },
  clamav: {
    result: {
      type: 'string',
      values: ['clean', 'infected', 'none', 'unknown'],
      stages: received,
      neutral: 'none',
      meaning: 'what ClamAV found; none: it is not asked',
    },
    name: {
      type: 'string',
      stages: received,
      neutral: '',
      unknownWith: 'clamav.result',
      meaning: 'what it calls what it found',
    },
    reason,
  },
  rspamd: {
    result: {
      type: 'string',
      values: ['no-action', 'greylist', 'add-header', 'rewrite-subject', 'soft-reject', 'reject', 'none', 'unknown'],
      stages: received,
      neutral: 'none',
      meaning: 'the action that rspamd advises; none: it is not asked',
    },
    score: {
      type: 'int',
      stages: received,
      neutral: 0,
      unknownWith: 'rspamd.result',
      meaning: 'its score in tenths: 65 is 6.5',
    },
    symbols: {
      type: 'list<string>',
      stages: received,
      neutral: [],
      unknownWith: 'rspamd.result',
      meaning: 'the names of what it found',
    },
    reason,
  },
  ring: {
    name: { type: 'string', stages, neutral: '', ordinary: 'example.org', meaning: 'name of this ring' },
    domains: {
      type: 'list<string>',
      stages,
      neutral: [],
      ordinary: ['example.org'],
      meaning: 'all domains the ring serves',
    },
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, FactRow>>>>;

type ValueOf<Row> = Row extends { readonly values: readonly (infer Value)[] }
  ? Value
  : Row extends { readonly type: 'string' }
    ? string
    : Row extends { readonly type: 'int' }
      ? number
      : Row extends { readonly type: 'bool' }
        ? boolean
        : readonly string[];

type Facts = typeof facts;
export type Group = keyof Facts;
type GroupValues<G extends Group> = { readonly [F in keyof Facts[G]]: ValueOf<Facts[G][F]> };

/** All that is known when deciding. Plain data: it can be stored as JSON and decided again later. */
export type Evidence = { readonly stage: Stage } & { readonly [G in Group]: GroupValues<G> };

/** What one caller knows; {@link Evidence} is made of it by `completeEvidence`. */
export type KnownEvidence = { readonly [G in Group]?: { readonly [F in keyof GroupValues<G>]?: GroupValues<G>[F] } };

/** One row of the table with its full name, as `dmarc.result`. */
export interface Fact extends FactRow {
  readonly path: string;
  readonly group: Group;
  readonly name: string;
}

function* rows(): Iterable<Fact> {
  for (const group of Object.keys(facts) as Group[]) {
    for (const [name, row] of Object.entries(facts[group]) as [string, FactRow][]) {
      yield { ...row, group, name, path: `${group}.${name}` };
    }
  }
}

/** Every fact by its full name, in the order of the table. */
export const factsByPath: ReadonlyMap<string, Fact> = new Map([...rows()].map((fact) => [fact.path, fact]));

/** The fact that says `unknown` when `fact` could not be found out: itself if three-valued, or the one it comes from. */
export function certaintyOf(fact: Fact): string | undefined {
  if (fact.values?.includes('unknown')) return fact.path;
  return fact.unknownWith;
}
