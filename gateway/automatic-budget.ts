/**
 * A bound for mail that no person sends (DESIGN §11): reports of ours, notices to users, and what users' programs send by themselves. Two machines that answer
 * each other then do so no faster than this. What is over it waits and is not lost; mail of people is never counted.
 */
import type { LimitState, Rate } from '../policy/limits.ts';
import type { Attempt, Worker } from '../queue/queue.ts';
import { fieldText, readHeaderBlock } from './header-fields.ts';

export interface AutomaticRates {
  /** To one address, of reports and notices; from one user or list to one domain, of what programs send. */
  readonly perAddress: Rate;
  /** Of the whole ring: of what goes out, and of notices. */
  readonly total: Rate;
}

/** Far above what one conversation of machines is worth, far below what hurts anybody. */
export const defaultAutomaticRates: AutomaticRates = {
  perAddress: { amount: 100, perMs: 3_600_000, burst: 100 },
  total: { amount: 10_000, perMs: 3_600_000, burst: 10_000 },
};

export interface BudgetParts {
  /** Those of policy: kept over restarts, and shared where gateways share a Redis. */
  readonly limits: LimitState;
  readonly rates: AutomaticRates;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: { warn(fields: object, message: string): void };
  readonly trace: (id: string, event: { what: string; [fact: string]: string | number }) => void;
}

export interface Spent {
  readonly why: string;
  readonly retryAfterMs: number;
}

export interface AutomaticBudget {
  /** Counts one more, or says why it has to wait. `address`: whom it is counted by. */
  spend(kind: 'mail' | 'notice', address: string, trace: string): Spent | undefined;
  /** Attempts at jobs whose facts name an `automatic` party begin within the budget; those of other jobs at once. */
  pace(worker: Worker): Worker;
}

/** A flood is said once an hour for each address, and the trace and the metrics count it. */
const sayEveryMs = 3_600_000;
const maxSaid = 1_000;

export function automaticBudget({ limits, rates, now, random, log, trace }: BudgetParts): AutomaticBudget {
  const said = new Map<string, number>();

  function say(kind: string, address: string, why: string): void {
    const key = `${kind} ${address}`;
    if ((said.get(key) ?? Number.NEGATIVE_INFINITY) > now() - sayEveryMs) return;
    if (said.size >= maxSaid) said.clear();
    said.set(key, now());
    log.warn({ kind, address, reason: why }, 'automatic mail waits: there is more of it than its budget');
  }

  const spend: AutomaticBudget['spend'] = (kind, address, id) => {
    const at = now();
    // One address that is over its own bound takes nothing from the others.
    const own = limits.take(`automatic ${kind} ${address.toLowerCase()}`, 1, rates.perAddress, at);
    const taken = own.kind === 'over' ? own : limits.take(`automatic ${kind}`, 1, rates.total, at);
    if (taken.kind === 'within') return undefined;
    const why = `the budget of automatic mail ${own.kind === 'over' ? `for ${address}` : 'of this ring'} is spent`;
    say(kind, address, why);
    trace(id, { what: 'automatic-waits', outcome: kind, address });
    return { why, retryAfterMs: taken.retryAfterMs };
  };

  return {
    spend,
    pace:
      (worker) =>
      async (job, signal): Promise<Attempt> => {
        const { automatic, trace: id } = job.about;
        const isFirst = job.attemptCount === 0 && job.failing === undefined;
        if (typeof automatic !== 'string' || !isFirst) return worker(job, signal);
        const spent = spend('mail', automatic, typeof id === 'string' ? id : job.id);
        if (spent === undefined) return worker(job, signal);
        // However many wait, they do not all ask again at the moment when there is room for one.
        const at = Math.ceil(now() + spent.retryAfterMs + random() * rates.perAddress.perMs);
        return { kind: 'put-off', at, why: spent.why };
      },
  };
}

/**
 * Whether a report may be sent about a message with this header (RFC 3834 §2). None about an answer that no person gave; about other automatic mail only that
 * it failed (RFC 5321 §6.1), since nobody else would notice that a machine's mail is lost.
 */
export function mayBeReported(header: Uint8Array, action: string): boolean {
  const field = readHeaderBlock(header).fields.find(({ name }) => name === 'auto-submitted');
  const word = field === undefined ? 'no' : (/^[\w-]*/.exec(fieldText(header, field, 100))?.[0] ?? '').toLowerCase();
  if (word === 'no') return true;
  return action === 'failed' && word !== 'auto-replied' && word !== 'auto-notified';
}
