import type { Address } from '../../policy/address.ts';
import { parseDomain } from '../../policy/address.ts';
import { completeEvidence } from '../../policy/complete-evidence.ts';
import { atomsOf } from '../../policy/condition.ts';
import type { Evidence, KnownEvidence, Stage } from '../../policy/evidence.ts';
import type { Policy } from '../../policy/policy.ts';
import type { Resolver } from '../dns/answer.ts';
import { messageLookups } from '../dns/message-lookups.ts';
import { type HeaderBlock, readHeaderBlock } from '../header-fields.ts';
import { readReport } from '../returns/report.ts';
import { canSign } from '../returns/return-path.ts';
import { noScanners, type Scanners } from '../scan/scanners.ts';
import type { Authentication } from './authenticate.ts';
import { authorOf } from './author.ts';
import { type DnsLists, noLists } from './dns-lists.ts';
import type { History } from './history.ts';
import { messageFacts } from './message-facts.ts';
import type { Verify } from './verifier.ts';

export interface Surroundings {
  /** Of the message; read here if absent. */
  readonly header?: HeaderBlock | undefined;
  /** It was sent without SMTPUTF8 (RFC 6531). */
  readonly asciiOnly?: boolean | undefined;
  readonly hostname: string;
  /** For what is looked up beside `verify`. */
  readonly resolver: Resolver;
  readonly verify: Verify;
  readonly history: History;
  /** None are asked if absent. */
  readonly lists?: DnsLists | undefined;
  /** Scanners of content; none are asked if absent. */
  readonly scan?: Scanners | undefined;
  readonly ring: KnownEvidence['ring'];
  readonly evidenceMs: number;
  readonly dnsLookups: number;
  readonly now: () => number;
  /** Recipients that a return path of ours named. */
  readonly returned: ReadonlySet<Address>;
}

/** What a session knows before the message: the groups `client`, `tls` and `envelope`. */
export type SessionEvidence = Pick<KnownEvidence, 'client' | 'tls' | 'envelope'>;

/** The `envelope` group. */
export function envelopeFacts(from: string, recipients: readonly Address[]): Evidence['envelope'] {
  const fromDomain = parseDomain(from.slice(from.lastIndexOf('@') + 1)) ?? '';
  return { from, fromDomain: from === '' ? '' : fromDomain, recipients, recipientCount: recipients.length };
}

/** All evidence on a message from the Internet, ready within about `evidenceMs`. Never throws. */
export async function gatherAtData(
  message: Uint8Array,
  session: SessionEvidence,
  recipients: readonly Address[],
  {
    header = readHeaderBlock(message),
    asciiOnly = false,
    hostname,
    resolver,
    verify,
    history,
    lists,
    scan,
    ring,
    evidenceMs,
    dnsLookups,
    now,
    returned,
  }: Surroundings,
): Promise<{ evidence: Evidence; authentication: Authentication }> {
  const lookups = messageLookups(resolver, { maxLookups: dnsLookups, deadline: now() + evidenceMs, now });
  const named = authorOf(message, header);
  const ip = session.client?.ip ?? '';
  const domains = [named.kind === 'single' ? named.domain : '', session.envelope?.fromDomain ?? ''];
  const [authentication, dnslist, scanned] = await Promise.all([
    verify(
      {
        message,
        ip,
        hostname,
        author: named,
        helo: session.client?.helo ?? '',
        mailFrom: session.envelope?.from ?? '',
      },
      { maxLookups: dnsLookups, timeMs: evidenceMs },
    ),
    (lists ?? noLists).of(
      ip,
      domains.flatMap((domain) => parseDomain(domain) ?? []),
      lookups.lookups,
    ),
    (scan ?? noScanners).of(message, {
      ip,
      hostname,
      recipients,
      helo: session.client?.helo ?? '',
      from: session.envelope?.from ?? '',
    }),
  ]);
  const { author, spf, dkim, dmarc, arc } = authentication;
  const evidence = completeEvidence('data', {
    ...session,
    author: author.kind === 'single' ? author : { kind: author.kind },
    spf,
    dkim,
    dmarc,
    arc,
    dnslist,
    ...scanned,
    bounce: bounceFacts(message, session.envelope?.from ?? '', recipients, returned),
    message: messageFacts(message, header, { asciiOnly }),
    history: await history.of(author, recipients),
    ...(ring === undefined ? {} : { ring }),
  });
  return { evidence, authentication };
}

/** A report of a failure proves itself by the address it comes back to; nobody else knows that. */
function bounceFacts(
  message: Uint8Array,
  from: string,
  recipients: readonly Address[],
  returned: ReadonlySet<Address>,
): Evidence['bounce'] {
  // RFC 3464 §2: reports come with the null sender; what has a sender is judged by that.
  if (from !== '') return { result: 'none' };
  if (recipients.every((recipient) => returned.has(recipient))) return { result: 'pass' };
  const provable = recipients.every((recipient) => returned.has(recipient) || canSign(recipient));
  return { result: provable && readReport(message).kind === 'delivery' ? 'fail' : 'none' };
}

/** Whether a decision at this stage could depend on who the client is by reverse DNS, which takes time to find out. */
export function needsReverseName(policy: Policy, stage: Stage): boolean {
  return reads(policy, stage, reverseFacts);
}

/** Whether a decision at this stage could depend on the DNS lists that the client's address is on. */
export function needsClientLists(policy: Policy, stage: Stage): boolean {
  return reads(policy, stage, listFacts);
}

const reverseFacts: ReadonlySet<string> = new Set(['client.name', 'client.iprev']);
const listFacts: ReadonlySet<string> = new Set([
  'dnslist.block',
  'dnslist.blockedBy',
  'dnslist.allow',
  'dnslist.allowedBy',
]);

/** A policy does not change, and it is asked at each command. */
const answered = new WeakMap<Policy, Map<string, boolean>>();

function reads(policy: Policy, stage: Stage, paths: ReadonlySet<string>): boolean {
  const answers = answered.get(policy) ?? new Map<string, boolean>();
  answered.set(policy, answers);
  const question = `${stage} ${[...paths].join()}`;
  const answer = answers.get(question) ?? findReads(policy, stage, paths);
  answers.set(question, answer);
  return answer;
}

function findReads(policy: Policy, stage: Stage, paths: ReadonlySet<string>): boolean {
  const atoms = policy.rulesAt[stage].flatMap((rule) => [...atomsOf(rule.when)]);
  const all = [...atoms, ...policy.classes.flatMap(({ when }) => [...atomsOf(when)])];
  return all.some((atom) => atom.facts.some(({ path }) => paths.has(path)));
}
