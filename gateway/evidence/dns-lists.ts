import { isIPv4 } from 'node:net';
import type { Domain } from '../../policy/address.ts';
import type { Evidence } from '../../policy/evidence.ts';
import type { Answer, Resolver } from '../dns/answer.ts';
import { reverseLabels } from './reverse-name.ts';

/** The zones that are asked, by what is looked up in them. */
export interface DnsListZones {
  /** Lists of addresses that send unwanted mail. */
  readonly block: readonly string[];
  /** Lists of addresses that are known for good mail. */
  readonly allow: readonly string[];
  /** Lists of domains that appear in unwanted mail. */
  readonly domains: readonly string[];
}

export interface DnsLists {
  /** What the lists say of the client and of the domains that the message names. Never throws; within the budget of `resolver`. */
  of(ip: string, domains: readonly Domain[], resolver: Resolver): Promise<Evidence['dnslist']>;
}

// RFC 5782 §5: whether a list works is seen by its test entries; once an hour notices one that has died without asking it twice for each message.
const provenForMs = 3_600_000;
// After a failure it is tried again soon: it may have been our own network.
const distrustedForMs = 300_000;
// A message names an author and an envelope domain; more would be asked on a stranger's behalf.
const maxDomains = 2;

/** No list is configured. */
export const noLists: DnsLists = {
  of: () =>
    Promise.resolve({
      block: 'none',
      blockedBy: [],
      allow: 'none',
      allowedBy: [],
      domain: 'none',
      domainListedBy: [],
    }),
};

type Verdict = 'listed' | 'clear' | 'unknown';

/** DNS block and allow lists (RFC 5782). A list that is dead, closed to us or lists everything says nothing: `unknown`, never `listed`. */
export function dnsLists(zones: DnsListZones, now: () => number): DnsLists {
  const health = new Map<string, { readonly works: boolean; readonly until: number }>();

  async function works(zone: string, kind: 'address' | 'domain', resolver: Resolver): Promise<boolean> {
    const known = health.get(zone);
    if (known !== undefined && known.until > now()) return known.works;
    // RFC 5782 §5: 127.0.0.2 and TEST are listed, 127.0.0.1 and INVALID are not.
    const [listed, clear] = kind === 'address' ? ['2.0.0.127', '1.0.0.127'] : ['test', 'invalid'];
    const [one, other] = await Promise.all([ask(`${listed}.${zone}`, resolver), ask(`${clear}.${zone}`, resolver)]);
    const answered = one === 'listed' && other === 'clear';
    health.set(zone, { works: answered, until: now() + (answered ? provenForMs : distrustedForMs) });
    return answered;
  }

  async function inZone(
    zone: string,
    names: readonly string[],
    kind: 'address' | 'domain',
    resolver: Resolver,
  ): Promise<Verdict> {
    const answers = await Promise.all(names.map((name) => ask(`${name}.${zone}`, resolver)));
    if (answers.includes('listed')) return (await works(zone, kind, resolver)) ? 'listed' : 'unknown';
    return answers.includes('unknown') ? 'unknown' : 'clear';
  }

  /** One verdict of several lists: one that lists is enough, and silence of another does not take that back. */
  async function among(
    list: readonly string[],
    names: readonly string[],
    kind: 'address' | 'domain',
    resolver: Resolver,
  ) {
    if (list.length === 0 || names.length === 0) return { verdict: 'none' as const, by: [] };
    const verdicts = await Promise.all(list.map((zone) => inZone(zone, names, kind, resolver)));
    const by = list.filter((_, index) => verdicts[index] === 'listed');
    if (by.length > 0) return { verdict: 'listed' as const, by };
    return { verdict: verdicts.includes('unknown') ? ('unknown' as const) : ('clear' as const), by };
  }

  return {
    async of(ip, domains, resolver) {
      const address = [reverseLabels(ip)];
      const [block, allow, named] = await Promise.all([
        among(zones.block, address, 'address', resolver),
        among(zones.allow, address, 'address', resolver),
        among(zones.domains, [...new Set(domains)].slice(0, maxDomains), 'domain', resolver),
      ]);
      return {
        block: block.verdict,
        blockedBy: block.by,
        allow: allow.verdict,
        allowedBy: allow.by,
        domain: named.verdict,
        domainListedBy: named.by,
      };
    },
  };
}

async function ask(name: string, resolver: Resolver): Promise<Verdict> {
  return verdictOf(await resolver.resolve(name, 'A'));
}

/**
 * RFC 5782 §2.1: an address in 127.0.0.0/8 means listed. Any other is a domain that was parked or a resolver that makes answers up;
 * 127.255.255.0/24 is how the large lists say that they do not answer this asker.
 */
function verdictOf(answer: Answer<string>): Verdict {
  if (answer.kind === 'unknown') return 'unknown';
  if (answer.kind !== 'records') return 'clear';
  const codes = answer.records.filter((record) => isIPv4(record));
  if (codes.length === 0 || codes.some((code) => !code.startsWith('127.') || code.startsWith('127.255.255.')))
    return 'unknown';
  return 'listed';
}
