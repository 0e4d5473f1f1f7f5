/** What the DNS shows of a key's record (RFC 6376 §3.6.2), compared with what should be there. */
import type { Resolver } from '../dns/answer.ts';
import type { DkimKey } from './keys.ts';
import { dkimRecord } from './record.ts';
import type { Seen } from './stages.ts';

/** The first domain where the record is not as it should be, else `right`. One question a domain. */
export async function seenInDns(key: DkimKey, domains: readonly string[], resolver: Resolver): Promise<Seen> {
  for (const domain of domains) {
    const { name, value } = dkimRecord(key, domain);
    const answer = await resolver.resolve(name, 'TXT');
    if (answer.kind === 'unknown') return { kind: 'unknown', name, found: answer.reason };
    if (answer.kind !== 'records') return { kind: 'absent', name, found: 'no record' };
    const texts = answer.records.map((strings) => strings.join(''));
    // RFC 6376 §3.6.2.2: with several records a verifier may take any.
    if (texts.length !== 1) return { kind: 'different', name, found: `${texts.length} records` };
    if (publicKeyOf(texts[0] ?? '') !== publicKeyOf(value))
      return { kind: 'different', name, found: (texts[0] ?? '').slice(0, 100) };
  }
  return { kind: 'right' };
}

/** The p= tag without white space, which is free there (RFC 6376 §3.6.1), together with k=, which is rsa where it is absent. */
function publicKeyOf(text: string): string {
  const tags = new Map(
    text.split(';').map((tag): [string, string] => {
      const equals = tag.indexOf('=');
      return [tag.slice(0, Math.max(0, equals)).trim(), tag.slice(equals + 1).replace(/[ \t\r\n]+/g, '')];
    }),
  );
  return `${tags.get('k') ?? 'rsa'} ${tags.get('p') ?? ''}`;
}
