import { Resolver as SystemResolver } from 'node:dns/promises';
import { AnswerCache } from './answer-cache.ts';
import { queryName } from './query-name.ts';

export interface MxRecord {
  readonly exchange: string;
  readonly priority: number;
}

export interface TlsaRecord {
  readonly certUsage: number;
  readonly selector: number;
  readonly match: number;
  readonly data: Uint8Array;
}

/** What one record of a type looks like. TXT comes as its character-strings (RFC 1035 §3.3.14). */
export interface RecordsByType {
  readonly A: string;
  readonly AAAA: string;
  readonly MX: MxRecord;
  readonly TXT: readonly string[];
  readonly PTR: string;
  readonly CNAME: string;
  readonly TLSA: TlsaRecord;
}

export type RecordType = keyof RecordsByType;

/** Three-valued: there are records, there are none (two ways), or we could not find out. */
export type Answer<Rec = unknown> =
  | { readonly kind: 'records'; readonly records: readonly Rec[]; readonly ttlMs: number }
  | { readonly kind: 'nodata' }
  | { readonly kind: 'nxdomain' }
  | { readonly kind: 'unknown'; readonly reason: string };

export interface Resolver {
  /** Never throws. A name that cannot exist is `nxdomain`. */
  resolve<T extends RecordType>(name: string, type: T): Promise<Answer<RecordsByType[T]>>;
}

export interface ResolverOptions {
  /** `host:port`, `[v6]:port` or an address; the system's servers if absent. */
  readonly servers?: readonly string[];
  /** Of one query; there are two tries. */
  readonly timeoutMs: number;
  readonly now: () => number;
}

// Answers are a few hundred bytes: some MB at the most, and more names than one gateway asks for in half a minute.
const maxCachedAnswers = 10_000;
// node:dns tells the TTL of addresses only. What it does not tell is kept as short as the shortest TTL in wide use, so
// that a corrected record is seen soon; one message asks for the same name several times within a second or two.
const assumedTtlMs = 30_000;
// A record with a TTL of a week is still asked for again the same hour, so that a mistake does not outlive a working day.
const maxTtlMs = 3_600_000;
// Negative answers are short-lived (RFC 2308 §5 allows hours): the usual reason for one is a record not yet published.
const negativeTtlMs = 30_000;
// c-ares doubles its time-out on the second try: 2 s twice must not become 6.
const tries = 2;

type Lookup = (name: string) => Promise<{ records: readonly unknown[]; ttlMs: number }>;

/**
 * DNS over node:dns with settable servers and a small cache that honours what it is told of TTLs. Equal questions that
 * are under way share one query. A server that refuses connections is `unknown` at once, one that is silent after
 * `tries` time-outs.
 */
export function createResolver({ servers, timeoutMs, now }: ResolverOptions): Resolver {
  const system = new SystemResolver({ timeout: timeoutMs, tries });
  if (servers !== undefined) system.setServers([...servers]);
  const cache = new AnswerCache<Answer>(maxCachedAnswers);
  const underWay = new Map<string, Promise<Answer>>();
  const lookups = lookupsOf(system);

  async function ask(name: string, type: RecordType): Promise<Answer> {
    const answer = await answered(lookups[type](name), timeoutMs * tries);
    if (answer.kind === 'records') cache.set(`${type} ${name}`, answer, Math.min(answer.ttlMs, maxTtlMs), now());
    // What could not be found out is never kept: the next question may be answered.
    else if (answer.kind !== 'unknown') cache.set(`${type} ${name}`, answer, negativeTtlMs, now());
    return answer;
  }

  return {
    async resolve(text, type) {
      const name = queryName(text);
      if (name === undefined) return { kind: 'nxdomain' };
      const key = `${type} ${name}`;
      const cached = cache.get(key, now());
      if (cached !== undefined) {
        const { value, leftMs } = cached;
        return (value.kind === 'records' ? { ...value, ttlMs: leftMs } : value) as never;
      }
      let query = underWay.get(key);
      if (query === undefined) {
        query = ask(name, type).finally(() => underWay.delete(key));
        underWay.set(key, query);
      }
      return (await query) as never;
    },
  };
}

function lookupsOf(system: SystemResolver): Readonly<Record<RecordType, Lookup>> {
  const plain =
    (get: (name: string) => Promise<readonly unknown[]>): Lookup =>
    async (name) => ({ records: await get(name), ttlMs: assumedTtlMs });
  const withTtl =
    (get: (name: string) => Promise<readonly { address: string; ttl: number }[]>): Lookup =>
    async (name) => {
      const found = await get(name);
      const ttlMs = Math.min(...found.map((record) => record.ttl)) * 1000;
      return { records: found.map((record) => record.address), ttlMs };
    };
  return {
    A: withTtl((name) => system.resolve4(name, { ttl: true })),
    AAAA: withTtl((name) => system.resolve6(name, { ttl: true })),
    MX: plain((name) => system.resolveMx(name)),
    TXT: plain((name) => system.resolveTxt(name)),
    PTR: plain((name) => system.resolvePtr(name)),
    CNAME: plain((name) => system.resolveCname(name)),
    TLSA: async (name) => {
      const found = await system.resolveTlsa(name);
      const records = found.map(({ certUsage, selector, match, data }) => ({
        certUsage,
        selector,
        match,
        data: new Uint8Array(data),
      }));
      return { records, ttlMs: assumedTtlMs };
    },
  };
}

async function answered(lookup: ReturnType<Lookup>, withinMs: number): Promise<Answer> {
  const { promise: late, resolve } = Promise.withResolvers<Answer>();
  const timer = setTimeout(() => resolve({ kind: 'unknown', reason: 'no answer in time' }), withinMs);
  const found = lookup.then(
    ({ records, ttlMs }): Answer => (records.length > 0 ? { kind: 'records', records, ttlMs } : { kind: 'nodata' }),
    failed,
  );
  const answer = await Promise.race([found, late]);
  clearTimeout(timer);
  return answer;
}

function failed(error: unknown): Answer {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'EUNKNOWN';
  switch (code) {
    case 'ENOTFOUND':
      return { kind: 'nxdomain' };
    case 'ENODATA':
      return { kind: 'nodata' };
    default:
      return { kind: 'unknown', reason: reasons.get(code) ?? `DNS error ${code}` };
  }
}

const reasons: ReadonlyMap<string, string> = new Map([
  ['ETIMEOUT', 'no answer in time'],
  ['ECONNREFUSED', 'no name server can be reached'],
  ['ESERVFAIL', 'the name server failed'],
  ['EREFUSED', 'the name server refused to answer'],
  ['EBADRESP', 'the answer was malformed'],
  ['EFORMERR', 'the name server did not understand the question'],
]);
