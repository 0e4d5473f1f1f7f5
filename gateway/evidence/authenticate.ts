import { isIP } from 'node:net';
import { arc as checkArc } from 'mailauth/lib/arc/index.js';
import { evaluateDmarc } from 'mailauth/lib/dmarc/index.js';
import { spf as checkSpf } from 'mailauth/lib/spf/index.js';
import { type Domain, parseDomain } from '../../policy/address.ts';
import type { Evidence } from '../../policy/evidence.ts';
import type { MessageLookups } from '../dns/message-lookups.ts';
import type { Author } from './author.ts';
import { checkSignatures } from './check-signatures.ts';
import { dkimOf, type SignatureSeen, type VerifiedDkim } from './dkim-results.ts';
import { withPlainDmarcTags } from './dmarc-record.ts';

/** What is checked, and for whom. */
export interface AuthenticationInput {
  /** Its lines end in CRLF. */
  readonly message: Uint8Array;
  readonly ip: string;
  readonly helo: string;
  /** Empty for the null sender. */
  readonly mailFrom: string;
  readonly hostname: string;
  readonly author: Author;
  readonly lookups: MessageLookups;
}

export interface Authentication {
  /** The author given, or `ambiguous` where the verifier read another one than we did. */
  readonly author: Author;
  readonly spf: Evidence['spf'];
  readonly dkim: Evidence['dkim'];
  readonly dmarc: Evidence['dmarc'];
  readonly arc: Evidence['arc'];
  readonly signatures: readonly SignatureSeen[];
  /** What went wrong inside the checks, for the log; everything is `unknown` then. */
  readonly fault?: Error;
}

type MailauthResult = Awaited<ReturnType<typeof checked>>;

const unknownReason = 'the check could not be made';

/**
 * SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 9989) and ARC (RFC 8617) for one message. Never throws, never skips:
 * what could not be found out is `unknown`, and what the verifier will not judge is a failure. Yields to the event loop
 * between parts of a large body.
 */
export async function authenticate(input: AuthenticationInput): Promise<Authentication> {
  try {
    return judged(input, await checked(input));
  } catch (error) {
    return { ...nothingKnown(input.author), fault: new Error('mailauth failed', { cause: error }) };
  }
}

/** What mailauth's own `authenticate` puts together, without the texts it makes of it, and with the rules of the RFCs, not its lenient ones. */
async function checked({ message, ip, helo, mailFrom, hostname, lookups }: AuthenticationInput) {
  const { resolver } = lookups;
  const dkim = await checkSignatures(message, { resolver });
  const name = helo === '' ? ip : helo;
  const spf = await checkSpf({
    sender: mailFrom,
    ip,
    // RFC 5321 §4.1.3.
    helo: isIP(name) > 0 ? `[${name}]` : name,
    mta: hostname,
    resolver,
    strict: true,
  });
  const arc = await checkArc(dkim.arc, { resolver, strict: true });
  const passed = dkim.results.filter(({ status }) => status.result === 'pass');
  const { response: dmarc } = await evaluateDmarc({
    headerFrom: dkim.headerFrom,
    fromFields: dkim.fromFields,
    spfDomains: spf.status.result === 'pass' ? [spf.domain] : [],
    dkimDomains: passed.map(({ signingDomain = '', status: { underSized = 0 } }) => ({
      domain: signingDomain,
      underSized,
    })),
    arcResult: arc,
    resolver: withPlainDmarcTags(resolver),
    strict: true,
  });
  return { dkim, spf, arc, dmarc };
}

/** What is said of a message whose checks could not be made. */
export function nothingKnown(author: Author): Authentication {
  const unknown = { result: 'unknown', reason: unknownReason } as const;
  return {
    author,
    spf: { ...unknown, domain: '' },
    dkim: { ...unknown, domains: [] },
    dmarc: { ...unknown, policy: 'none', domain: '' },
    arc: { ...unknown, sealer: '' },
    signatures: [],
  };
}

function judged(input: AuthenticationInput, result: MailauthResult): Authentication {
  const author = agreedAuthor(input.author, result);
  const spf = spfOf(input, result);
  const dkim = dkimOf(result.dkim.results);
  return {
    author,
    spf,
    dkim: { result: dkim.result, domains: dkim.domains, reason: dkim.reason },
    dmarc: dmarcOf(author, spf, dkim, result),
    arc: arcOf(input, result),
    signatures: dkim.signatures,
  };
}

/** Two parsers read the From field: ours and the verifier's. Where they differ, some mail program will too. */
function agreedAuthor(author: Author, { dkim }: MailauthResult): Author {
  if (author.kind !== 'single') return author;
  const seen = (dkim.headerFrom ?? []).map((address) => parseDomain(address.slice(address.lastIndexOf('@') + 1)));
  if (seen.length === 1 && seen[0] === author.domain) return author;
  return { kind: 'ambiguous', reason: 'two ways to read the From field give two authors' };
}

type SpfResult = Evidence['spf']['result'];
const spfResults: ReadonlyMap<string, SpfResult> = new Map([
  ['pass', 'pass'],
  ['fail', 'fail'],
  ['softfail', 'softfail'],
  ['neutral', 'neutral'],
  ['none', 'none'],
  ['temperror', 'unknown'],
  // RFC 7208 §2.6.7: the record cannot be read, so it says neither yes nor no.
  ['permerror', 'neutral'],
]);

function spfOf({ mailFrom, helo }: AuthenticationInput, { spf }: MailauthResult): Evidence['spf'] {
  const checked = parseDomain(mailFrom === '' ? helo : mailFrom.slice(mailFrom.lastIndexOf('@') + 1));
  const comment = plainReason(spf.status.comment);
  const result = spfResults.get(spf.status.result) ?? 'unknown';
  const reason = spf.status.result === 'permerror' ? `the record cannot be used: ${comment}` : comment;
  // A pass for a name that is none is nobody's pass.
  if (result === 'pass' && checked === undefined) return { result: 'none', domain: '', reason: 'no domain to check' };
  return { result, domain: checked ?? '', reason };
}

function dmarcOf(author: Author, spf: Evidence['spf'], dkim: VerifiedDkim, result: MailauthResult): Evidence['dmarc'] {
  const failed = (reason: string): Evidence['dmarc'] => ({ result: 'fail', policy: 'none', domain: '', reason });
  // RFC 9989 §5.3.1, §11.5: without exactly one author there is nothing to evaluate, which is no reason to let it pass.
  if (author.kind !== 'single') return failed(author.reason);
  const { dmarc } = result;
  if (dmarc === false) return failed('the author could not be evaluated');
  const { domain: authorDomain } = author;
  const from = typeof dmarc.status.header?.from === 'string' ? parseDomain(dmarc.status.header.from) : undefined;
  if (from !== authorDomain) return failed('the evaluation was for another domain');
  const domain = parseDomain(dmarc.policyDomain ?? '') ?? '';
  const policy = policyOf(dmarc.policy);
  switch (dmarc.status.result) {
    case 'pass':
      return provenBy(dmarc, spf, dkim)
        ? { result: 'pass', policy, domain, reason: plainReason(dmarc.status.comment) }
        : {
            result: 'fail',
            policy,
            domain,
            reason: 'only a signature that leaves part of the message open is aligned',
          };
    case 'fail':
      return { result: 'fail', policy, domain, reason: 'neither SPF nor DKIM passes for the author’s domain' };
    case 'none':
      return { result: 'none', policy: 'none', domain: '', reason: 'the domain publishes no policy' };
    default:
      return { result: 'unknown', policy: 'none', domain: '', reason: plainReason(dmarc.error) || unknownReason };
  }
}

/**
 * Whether what DMARC says it passed on is among what we count as passing. A signature with `l=` that leaves body
 * octets unsigned does not: anyone could have added them (RFC 6376 §8.2).
 */
function provenBy(
  { alignment }: { alignment?: { spf?: { result?: string }; dkim?: { result?: string } } },
  spf: Evidence['spf'],
  dkim: VerifiedDkim,
): boolean {
  const bySpf = parseDomain(alignment?.spf?.result ?? '');
  const byDkim = parseDomain(alignment?.dkim?.result ?? '');
  if (bySpf !== undefined && spf.result === 'pass' && spf.domain === bySpf) return true;
  return byDkim !== undefined && dkim.domains.includes(byDkim);
}

function policyOf(policy: string | undefined): Evidence['dmarc']['policy'] {
  return policy === 'reject' || policy === 'quarantine' ? policy : 'none';
}

function arcOf({ lookups }: AuthenticationInput, { arc }: MailauthResult): Evidence['arc'] {
  const sealer = sealerOf(arc);
  const reason = plainReason(arc.status.comment);
  switch (arc.status.result) {
    case 'pass':
      return { result: 'pass', sealer, reason };
    case 'none':
      return { result: 'none', sealer: '', reason };
    default:
      // mailauth calls every trouble in ARC a failure. Where a name server did not answer, we do not know.
      return lookups.unanswered() > 0
        ? { result: 'unknown', sealer, reason: 'a name server did not answer' }
        : { result: 'fail', sealer, reason };
  }
}

function sealerOf(arc: object): Domain | '' {
  // mailauth's chain is false where there is none.
  const { chain } = arc as { chain?: unknown };
  const seal = Array.isArray(chain)
    ? (chain.at(-1) as Readonly<Record<string, SealField | undefined>> | undefined)
    : undefined;
  const domain = seal?.['arc-seal']?.parsed?.d?.value;
  return (typeof domain === 'string' ? parseDomain(domain) : undefined) ?? '';
}

interface SealField {
  readonly parsed?: { readonly d?: { readonly value?: unknown } };
}

// Reasons are read by people and stored with the decision; some of them repeat what strangers wrote.
const maxReasonLength = 200;

function plainReason(comment: unknown): string {
  if (typeof comment !== 'string') return '';
  return comment
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, maxReasonLength);
}
