import { getServers } from 'node:dns';
import type { Answer, RecordType, Resolver } from './answer.ts';
import { AnswerCache } from './answer-cache.ts';
import { queryName } from './query-name.ts';
import { type Read, readAnswer } from './read-answer.ts';
import { exchange, type Server, serverOf, unreachable } from './stub-query.ts';

export interface ResolverOptions {
  /** `host:port`, `[v6]:port` or an address; the system's servers if absent. */
  readonly servers?: readonly string[];
  /** Of one query; there are two tries at least. */
  readonly timeoutMs: number;
  readonly now: () => number;
}

// Answers are a few hundred bytes: some MB at the most, and more names than one gateway asks for in half a minute.
const maxCachedAnswers = 10_000;
// A record with a TTL of a week is still asked for again the same hour, so that a mistake does not outlive a working day.
const maxTtlMs = 3_600_000;
// Zero means "for this question alone" (RFC 1035 §3.2.1); one message asks for the same name several times within a second or two.
const minTtlMs = 2_000;
// UDP loses packets; the second try asks the next server, where there is one.
const tries = 2;
// resolv.conf(5) knows three; more would make one question last for ever.
const maxServers = 3;
// Sockets, of which each question under way has one; a gateway with two hundred sessions asks some tens at a time.
const maxUnderWay = 500;
// RFC 8767 §5 suggests one to three days. Where mail goes, and what a client is called, may be a day old when nobody can be asked.
const maxStaleMs = 24 * 3_600_000;
// Never what proves an identity: a withdrawn key or a tightened policy must not come back because its servers are being held under water.
const mayBeStale: ReadonlySet<RecordType> = new Set<RecordType>(['A', 'AAAA', 'MX', 'PTR', 'CNAME']);

/**
 * DNS as a stub (RFC 1034 §5.3.1) of recursive name servers, with a bounded cache that honours TTLs, also negative ones. Equal questions that are under
 * way share one query. A server that refuses connections is `unknown` at once, one that is silent after `tries` time-outs; each try asks the next server.
 */
export function createResolver({ servers, timeoutMs, now }: ResolverOptions): Resolver {
  const all = (servers ?? getServers()).map(serverOf);
  const cache = new AnswerCache<Answer>(maxCachedAnswers);
  const underWay = new Map<string, Promise<Answer>>();

  async function ask(key: string, name: string, type: RecordType): Promise<Answer> {
    const { answer, ttlMs } = await askServers(all, name, type, timeoutMs);
    // What could not be found out is never kept: the next question may be answered.
    if (answer.kind === 'unknown') return staleOf(key, type) ?? answer;
    const keptMs = Math.min(Math.max(ttlMs, minTtlMs), maxTtlMs);
    const staleMs = answer.kind === 'records' && mayBeStale.has(type) ? maxStaleMs : 0;
    cache.set(key, answer, keptMs, now(), staleMs);
    return answer;
  }

  function staleOf(key: string, type: RecordType): Answer | undefined {
    const old = mayBeStale.has(type) ? cache.getStale(key, now()) : undefined;
    return old?.kind === 'records' ? { ...old, ttlMs: 0, stale: true } : undefined;
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
        if (underWay.size >= maxUnderWay) return { kind: 'unknown', reason: 'too many DNS lookups at once' };
        query = ask(key, name, type).finally(() => underWay.delete(key));
        underWay.set(key, query);
      }
      return (await query) as never;
    },
  };
}

async function askServers(
  servers: readonly Server[],
  name: string,
  type: RecordType,
  timeoutMs: number,
): Promise<Read> {
  let last: Read = { answer: { kind: 'unknown', reason: 'no name server is configured' }, ttlMs: 0 };
  for (let attempt = 0; attempt < Math.max(tries, Math.min(servers.length, maxServers)); attempt += 1) {
    const server = servers[attempt % Math.max(servers.length, 1)];
    if (server === undefined) break;
    // Refused once, refused again: only the silent and the failing are asked twice.
    if (attempt >= servers.length && last.answer.kind === 'unknown' && last.answer.reason === unreachable) break;
    const outcome = await exchange(server, name, type, AbortSignal.timeout(timeoutMs));
    last =
      outcome.kind === 'answer'
        ? readAnswer(outcome.packet, name, type)
        : { answer: { kind: 'unknown', reason: outcome.reason }, ttlMs: 0 };
    if (last.answer.kind !== 'unknown') return last;
    // A server that says no has answered: another may know, the same will not.
    if (outcome.kind === 'answer' && attempt + 1 >= servers.length) return last;
  }
  return last;
}
