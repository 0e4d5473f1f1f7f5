import { atomsOf } from '../../policy/condition.ts';
import type { Policy } from '../../policy/policy.ts';

// What is known of a message that is another thing for each of its recipients.
const perRecipient: ReadonlySet<string> = new Set(['envelope.recipients', 'history.firstTimeRecipients']);

/**
 * Whether this policy could come to another verdict on a message for one recipient than for another. SMTP has one reply to the data of all of them:
 * then each gets a transaction of his own, or what is refused for one would be refused for all, or bounce (DESIGN §10).
 */
export function verdictsMayDiffer(policy: Policy): boolean {
  const known = mayDiffer.get(policy);
  if (known !== undefined) return known;
  const rules = policy.rulesAt.data.filter(({ mode }) => mode === 'enforce');
  const conditions = [...rules.map(({ when }) => when), ...policy.classes.map(({ when }) => when)];
  const facts = [
    ...conditions.flatMap((when) => atomsOf(when).flatMap((atom) => atom.facts)),
    ...rules.flatMap(({ limit }) => [...(limit?.by.facts ?? []), ...(limit?.cost?.facts ?? [])]),
  ];
  const answer = facts.some(({ path }) => perRecipient.has(path));
  mayDiffer.set(policy, answer);
  return answer;
}

// A loaded policy does not change; this is asked at each further recipient.
const mayDiffer = new WeakMap<Policy, boolean>();
