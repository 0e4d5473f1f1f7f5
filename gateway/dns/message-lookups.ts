import type { Answer, RecordsByType, RecordType, Resolver } from './answer.ts';
import { queryName } from './query-name.ts';

/** The resolver function that mailauth calls; records in node:dns' shapes, everything else thrown with node:dns' codes. */
export type MailauthResolver = (name: string, type: string) => Promise<string[][] | string[]>;

export interface MessageLookups {
  /** Hand this to mailauth. */
  readonly resolver: MailauthResolver;
  /** The same budget for lookups of our own. */
  readonly lookups: Resolver;
  /** How many lookups were asked for, including those refused. */
  readonly count: () => number;
  /** How many of them ended in `unknown`. */
  readonly unanswered: () => number;
}

export interface LookupBudget {
  /** RFC 7208 §4.6.4 lets one SPF record cost 10 terms of up to 10 addresses each; DKIM, ARC and DMARC add some tens. */
  readonly maxLookups: number;
  /** When the message's evidence has to be ready; a lookup that lasts longer is `unknown`. */
  readonly deadline: number;
  readonly now: () => number;
}

class LookupFault extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = 'LookupFault';
    this.code = code;
  }
}

const types: ReadonlySet<string> = new Set<RecordType>(['A', 'AAAA', 'MX', 'TXT', 'PTR', 'CNAME', 'TLSA']);

/**
 * The lookups of one message: counted, and all ended by one deadline. A stranger's records decide what is looked up, so
 * without this one message could keep us asking for minutes. Over budget is `unknown`, as a silent server is.
 */
export function messageLookups(resolver: Resolver, budget: LookupBudget): MessageLookups {
  let used = 0;
  let unanswered = 0;
  async function ask<T extends RecordType>(name: string, type: T): Promise<Answer<RecordsByType[T]>> {
    if (used > budget.maxLookups) return { kind: 'unknown', reason: 'too many DNS lookups for one message' };
    const leftMs = budget.deadline - budget.now();
    if (leftMs <= 0) return { kind: 'unknown', reason: 'no time left for DNS lookups' };
    return await within(resolver.resolve(name, type), leftMs);
  }
  const lookups: Resolver = {
    async resolve(name, type) {
      used += 1;
      const answer = await ask(name, type);
      if (answer.kind === 'unknown') unanswered += 1;
      return answer;
    },
  };
  return {
    lookups,
    resolver: (name, type) => forMailauth(lookups, name, type),
    count: () => used,
    unanswered: () => unanswered,
  };
}

async function within<Rec>(answer: Promise<Answer<Rec>>, ms: number): Promise<Answer<Rec>> {
  const { promise: late, resolve } = Promise.withResolvers<Answer<Rec>>();
  const timer = setTimeout(() => resolve({ kind: 'unknown', reason: 'no time left for DNS lookups' }), ms);
  const first = await Promise.race([answer, late]);
  clearTimeout(timer);
  return first;
}

async function forMailauth(lookups: Resolver, name: string, type: string): Promise<string[][] | string[]> {
  // mailauth makes permerror of EBADNAME, which is what RFC 7208 §4.8 asks for; to DKIM it is a key that cannot exist.
  if (queryName(name) === undefined) throw new LookupFault('EBADNAME', 'not a DNS name');
  if (!types.has(type)) throw new LookupFault('ENODATA', `no lookups of type ${type}`);
  const answer = await lookups.resolve(name, type as RecordType);
  // A copy: mailauth sorts MX lists in place. Its types know only TXT and addresses, its code also the others.
  if (answer.kind === 'records') return [...answer.records] as string[];
  // ETIMEOUT is the one code that SPF, DKIM, ARC and DMARC all take for a temporary error.
  if (answer.kind === 'unknown') throw new LookupFault('ETIMEOUT', answer.reason);
  if (answer.kind === 'nxdomain') throw new LookupFault('ENOTFOUND', 'no such name');
  throw new LookupFault('ENODATA', 'no records of this type');
}
