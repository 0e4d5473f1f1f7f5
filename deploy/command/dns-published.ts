/** What of the records that a gateway needs the DNS shows, compared with what should be there. */
import { isIPv6 } from 'node:net';
import type { DkimKey } from '../../gateway/dkim/keys.ts';
import { seenInDns } from '../../gateway/dkim/seen.ts';
import type { Answer, Resolver } from '../../gateway/dns/answer.ts';
import { reverseQuery } from '../../gateway/evidence/reverse-name.ts';

export interface Finding {
  /** `unknown`: the DNS gave no answer, which says nothing. */
  readonly state: 'right' | 'missing' | 'wrong' | 'unknown';
  /** What was asked, for instance `MX example.org`. */
  readonly record: string;
  /** What is there, and what to do where that is not right. */
  readonly found: string;
}

export interface Expected {
  readonly hostname: string;
  readonly domains: readonly string[];
  /** The DKIM keys that sign. */
  readonly keys: readonly DkimKey[];
}

/** Each of the records that matter, in the order in which they are needed. Never throws. */
export async function checkPublished({ hostname, domains, keys }: Expected, resolver: Resolver): Promise<Finding[]> {
  const host = await checkHost(hostname, resolver);
  const perDomain = await Promise.all(
    domains.map(async (domain) => [
      await checkMx(domain, hostname, resolver),
      await checkOneTxt(domain, 'v=spf1', 'an SPF record', resolver),
      ...(await Promise.all(keys.map((key) => checkKey(key, domain, resolver)))),
      await checkOneTxt(`_dmarc.${domain}`, 'v=DMARC1', 'a DMARC record', resolver),
    ]),
  );
  return [...host, ...perDomain.flat()];
}

async function checkHost(hostname: string, resolver: Resolver): Promise<Finding[]> {
  const [v4, v6] = await Promise.all([resolver.resolve(hostname, 'A'), resolver.resolve(hostname, 'AAAA')]);
  const addresses = [v4, v6].flatMap((answer) => (answer.kind === 'records' ? answer.records : []));
  const record = `A/AAAA ${hostname}`;
  if (addresses.length === 0) {
    const unknown = [v4, v6].find((answer) => answer.kind === 'unknown');
    if (unknown?.kind === 'unknown') return [{ state: 'unknown', record, found: unknown.reason }];
    return [
      { state: 'missing', record, found: 'no address: nobody can bring mail; publish the address of this machine' },
    ];
  }
  const names = await Promise.all(addresses.map((address) => checkReverse(address, hostname, resolver)));
  return [{ state: 'right', record, found: addresses.join(', ') }, ...names];
}

async function checkReverse(address: string, hostname: string, resolver: Resolver): Promise<Finding> {
  const record = `PTR of ${isIPv6(address) ? `[${address}]` : address}`;
  const answer = await resolver.resolve(reverseQuery(address), 'PTR');
  const advice = `whoever gave you the address must set it to ${hostname}; many hosts refuse mail without it`;
  if (answer.kind === 'unknown') return { state: 'unknown', record, found: answer.reason };
  if (answer.kind !== 'records') return { state: 'missing', record, found: `no name: ${advice}` };
  const right = answer.records.some((name) => sameName(name, hostname));
  return right
    ? { state: 'right', record, found: answer.records.join(', ') }
    : { state: 'wrong', record, found: `${answer.records.join(', ')}: ${advice}` };
}

async function checkMx(domain: string, hostname: string, resolver: Resolver): Promise<Finding> {
  const record = `MX ${domain}`;
  const answer = await resolver.resolve(domain, 'MX');
  if (answer.kind !== 'records') return absent(answer, record, `no MX: publish one that names ${hostname}`);
  const hosts = answer.records.map(({ exchange, priority }) => `${priority} ${exchange}`).join(', ');
  return answer.records.some(({ exchange }) => sameName(exchange, hostname))
    ? { state: 'right', record, found: hosts }
    : { state: 'wrong', record, found: `${hosts}: ${hostname} is not among them, so mail goes elsewhere` };
}

/** RFC 7208 §4.5 and RFC 9989: two records of the kind are as bad as none. */
async function checkOneTxt(name: string, version: string, what: string, resolver: Resolver): Promise<Finding> {
  const record = `TXT ${name}`;
  const answer = await resolver.resolve(name, 'TXT');
  if (answer.kind !== 'records') return absent(answer, record, `no record: publish ${what}`);
  const ours = answer.records
    .map((strings) => strings.join(''))
    .filter((text) => text.toLowerCase().startsWith(version.toLowerCase()));
  if (ours.length === 0)
    return { state: 'missing', record, found: `nothing that begins with ${version}: publish ${what}` };
  if (ours.length > 1)
    return {
      state: 'wrong',
      record,
      found: `${ours.length} records that begin with ${version}: verifiers take none; keep one`,
    };
  return { state: 'right', record, found: ours[0] ?? '' };
}

async function checkKey(key: DkimKey, domain: string, resolver: Resolver): Promise<Finding> {
  const record = `TXT ${key.selector}._domainkey.${domain}`;
  const seen = await seenInDns(key, [domain], resolver);
  if (seen.kind === 'right') return { state: 'right', record, found: `the ${key.algorithm} key` };
  const state = seen.kind === 'absent' ? 'missing' : seen.kind === 'different' ? 'wrong' : 'unknown';
  return { state, record, found: `${seen.found}; \`epost dns\` prints what should be there` };
}

function absent(answer: Exclude<Answer, { kind: 'records' }>, record: string, found: string): Finding {
  return answer.kind === 'unknown'
    ? { state: 'unknown', record, found: answer.reason }
    : { state: 'missing', record, found };
}

function sameName(left: string, right: string): boolean {
  const bare = (name: string): string => name.toLowerCase().replace(/\.$/, '');
  return bare(left) === bare(right);
}
