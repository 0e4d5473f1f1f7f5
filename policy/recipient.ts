/**
 * A recipient's own decision, on the notification, beside that of the organisation: it can be stricter; it can be milder only by a rule that
 * names a person who is proven. What it cannot settle stays as the organisation decided.
 */
import { type Decision, decide, type TraceStep } from './decide.ts';
import type { Evidence } from './evidence.ts';
import type { LimitState } from './limits.ts';
import { authorIsProven, namesHim } from './mildness.ts';
import { implied, type Policy, type Verdict } from './policy.ts';

/** What can become of a message at its recipient; he answers at once, so waiting is none of it. */
export type Placing = 'accept' | 'introduce' | 'junk' | 'quarantine' | 'reject';

export type RecipientDecision = Omit<Decision, 'verdict'> & { readonly verdict: Placing };

const strictness: readonly Verdict[] = ['accept', 'introduce', 'junk', 'quarantine', 'reject'];

/** Decides a notification by its recipient's policy. Pure and total as {@link decide} is. `evidence` is of the stage `notification`. */
export function decideForRecipient(
  policy: Policy,
  evidence: Evidence,
  limits: LimitState,
  now: number,
): RecipientDecision {
  const { reply: _reply, retryAfterMs: _retry, ...own } = decide(policy, evidence, limits, now);
  const { verdict: organisation } = evidence.organisation;
  if (own.rule === implied.blocked) return { ...own, verdict: 'reject' };
  if (!isPlacing(own.verdict))
    return overruled(own, organisation, 'what cannot be settled stays as it was decided there');
  if (strictness.indexOf(own.verdict) >= strictness.indexOf(organisation)) return { ...own, verdict: own.verdict };
  if (own.rule === implied.default) return overruled(own, organisation, 'no rule of the recipient speaks of it');
  const rule = policy.rules.find(({ id }) => id === own.rule);
  if (rule === undefined || !namesHim(rule.when, evidence, policy))
    return overruled(own, organisation, 'milder is only a rule that names the very person');
  if (!authorIsProven(evidence))
    return overruled(own, organisation, 'nobody is trusted by name who is not proven to have written this');
  return { ...own, verdict: own.verdict };
}

function isPlacing(verdict: Verdict): verdict is Placing {
  return verdict !== 'defer' && verdict !== 'hold';
}

function overruled(own: Omit<Decision, 'reply'>, organisation: 'accept' | 'junk', why: string): RecipientDecision {
  const step: TraceStep = {
    rule: implied.organisation,
    mode: 'implied',
    matched: 'yes',
    verdict: organisation,
    because: [],
    note: why,
  };
  return { ...own, verdict: organisation, rule: implied.organisation, trace: [...own.trace, step] };
}
