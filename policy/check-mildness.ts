import { atomsOf } from './condition.ts';
import type { PlacedRule } from './load-rules.ts';
import type { Loader } from './loader.ts';
import { namesSomebody } from './mildness.ts';

/** A recipient's rule that speaks of the organisation's verdict, accepts and names nobody is always overruled where it was junk: its author should know. */
export function checkMildness(loader: Loader, rules: readonly PlacedRule[]): void {
  for (const { rule, place, broken } of rules) {
    if (broken || rule.verdict !== 'accept' || namesSomebody(rule.when)) continue;
    if (!atomsOf(rule.when).some(({ facts }) => facts.some(({ group }) => group === 'organisation'))) continue;
    loader.source.report(place, {
      severity: 'warning',
      code: 'milder-than-organisation',
      found: `rule ${rule.id}, which accepts without naming anybody: what the organisation calls junk stays junk`,
      expected: 'a condition with author.address, identity.address or identity.key and the name of somebody',
      suggestion: 'for instance author.address in lists.friends &&',
    });
  }
}
