/** A day's sessions, counted by domain and policy (RFC 8460 §4): what a report is made of. Pure but for being added to. */
import { z } from 'zod';
import { type SessionResult, tlsFailures } from './session-result.ts';

const text = z.string().max(500);
const detailsShape = z.strictObject({
  type: z.enum(tlsFailures),
  server: text.optional(),
  address: text.optional(),
  reason: text,
  count: z.int().min(1),
});
const policyShape = z.strictObject({
  domain: text,
  type: z.enum(['sts', 'tlsa', 'no-policy-found']),
  strings: z.array(text).max(50),
  mx: z.array(text).max(50),
  successful: z.int().min(0),
  failed: z.int().min(0),
  failures: z.array(detailsShape),
});
export const dayShape = z.strictObject({
  version: z.literal(1),
  /** `2026-11-26`, in UTC. */
  day: z.string().regex(/^\d{4}-\d{2}-\d{2}$/),
  policies: z.array(policyShape),
  /** Sessions of domains beyond the bound. */
  uncounted: z.int().min(0),
});

export type PolicyCount = z.infer<typeof policyShape>;
export type DayCounts = z.infer<typeof dayShape>;

// Domains that one gateway sends to in a day, and how many ways to fail a report can name: who publishes many hosts must not fill our memory.
const maxPolicies = 10_000;
const maxFailures = 50;
const maxChars = 500;
const maxLines = 50;

export class DayTally {
  readonly day: string;
  readonly #policies = new Map<string, PolicyCount>();
  #uncounted = 0;

  constructor(day: string, before?: DayCounts) {
    this.day = day;
    for (const policy of before?.policies ?? []) this.#policies.set(keyOf(policy.domain, policy), policy);
    this.#uncounted = before?.uncounted ?? 0;
  }

  add({ domain, policy, server, failure }: SessionResult): void {
    const key = keyOf(domain, policy);
    let counts = this.#policies.get(key);
    if (counts === undefined) {
      if (this.#policies.size >= maxPolicies) {
        this.#uncounted += 1;
        return;
      }
      const { type } = policy;
      counts = {
        domain,
        type,
        strings: short(policy.strings),
        mx: short(policy.mx),
        successful: 0,
        failed: 0,
        failures: [],
      };
      this.#policies.set(key, counts);
    }
    if (failure === undefined) counts.successful += 1;
    else {
      counts.failed += 1;
      const reason = failure.reason.slice(0, maxChars);
      const same = counts.failures.find(
        (one) => one.type === failure.type && one.server === server?.name && one.address === server?.address,
      );
      if (same !== undefined) same.count += 1;
      else if (counts.failures.length < maxFailures)
        counts.failures.push({
          type: failure.type,
          ...(server === undefined ? {} : { server: server.name.slice(0, maxChars), address: server.address }),
          reason,
          count: 1,
        });
    }
  }

  counts(): DayCounts {
    return { version: 1, day: this.day, policies: [...this.#policies.values()], uncounted: this.#uncounted };
  }
}

function short(lines: readonly string[]): string[] {
  return lines.slice(0, maxLines).map((line) => line.slice(0, maxChars));
}

function keyOf(domain: string, policy: { readonly type: string; readonly strings: readonly string[] }): string {
  return `${domain}\n${policy.type}\n${short(policy.strings).join('\n')}`;
}

/** The day in UTC that a time belongs to (RFC 8460 §4.1: reports are of UTC days). */
export function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}
