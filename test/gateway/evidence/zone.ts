import type { Answer, RecordType, Resolver } from '../../../gateway/dns/answer.ts';

/** What lies under a name: records by type, or that its server never answers; with `silent` it does not answer for the types that are not named. */
export type ZoneEntry =
  | (Readonly<Partial<Record<RecordType, readonly unknown[]>>> & { readonly silent?: true })
  | 'silent';

/** A resolver that answers from a table in memory. Names are compared without regard to case; what is absent is `nxdomain`, or `nodata` where a name below it is there (RFC 8020). */
export function zoneResolver(zone: Readonly<Record<string, ZoneEntry>>): Resolver {
  const entries = new Map(Object.entries(zone).map(([name, entry]) => [name.toLowerCase().replace(/\.$/, ''), entry]));
  const answer = (name: string, type: RecordType): Answer => {
    const entry = entries.get(name);
    if (entry === 'silent') return { kind: 'unknown', reason: 'no answer in time' };
    if (entry === undefined) {
      const above = [...entries.keys()].some((other) => other.endsWith(`.${name}`));
      return above ? { kind: 'nodata' } : { kind: 'nxdomain' };
    }
    const records = entry[type] ?? [];
    if (records.length === 0 && entry.silent) return { kind: 'unknown', reason: 'no answer in time' };
    return records.length === 0 ? { kind: 'nodata' } : { kind: 'records', records, ttlMs: 60_000 };
  };
  return {
    resolve: (name, type) => Promise.resolve(answer(name.toLowerCase().replace(/\.$/, ''), type) as never),
  };
}
