/** The MTA-STS policies of domains, as long as they last (RFC 8461 §3.3, §5.1). */
import { z } from 'zod';
import type { Resolver } from '../../dns/answer.ts';
import { AnswerCache } from '../../dns/answer-cache.ts';
import { readStsPolicy, type StsPolicy, stsId } from './mta-sts.ts';
import type { Fetched } from './sts-fetch.ts';

/** Where policies are kept; the queue's marks fit. */
export interface Marks {
  getMark(key: string): Promise<Uint8Array | undefined>;
  setMark(key: string, value: Uint8Array, expiresAt: number): Promise<void>;
}

export interface StsBookParts {
  readonly resolver: Resolver;
  readonly marks: Marks;
  readonly fetch: (domain: string) => Promise<Fetched>;
  /** Told of a policy that is announced and cannot be had or read, for the domain's reports. */
  readonly onFailure?: (domain: string, type: 'sts-policy-fetch-error' | 'sts-policy-invalid', reason: string) => void;
  readonly now: () => number;
  readonly log: { warn(fields: object, message: string): void };
}

/** `unknown`: whether there is a policy, or what it says, could not be found out. */
export type KnownPolicy = StsPolicy | 'unknown' | undefined;

const keptShape = z.strictObject({
  id: z.string(),
  mode: z.enum(['enforce', 'testing', 'none']),
  mx: z.array(z.string()),
  maxAgeMs: z.number(),
  expiresAt: z.number(),
});
type Kept = z.infer<typeof keptShape>;

// RFC 8461 §3.3: after a failure not at once again. Domains that announce a policy and do not serve one are not rare.
const restAfterFailureMs = 300_000;
// The domains that mail goes to in a few minutes.
const maxFailures = 10_000;

export class StsBook {
  readonly #parts: StsBookParts;
  readonly #underWay = new Map<string, Promise<KnownPolicy>>();
  readonly #failed = new AnswerCache<true>(maxFailures);

  constructor(parts: StsBookParts) {
    this.#parts = parts;
  }

  /** The policy in force. Never throws: what is kept stays in force when nothing newer can be had, so that suppressing an answer gains nothing. */
  policyFor(domain: string): Promise<KnownPolicy> {
    const asked = this.#underWay.get(domain) ?? this.#find(domain).finally(() => this.#underWay.delete(domain));
    this.#underWay.set(domain, asked);
    return asked;
  }

  async #find(domain: string): Promise<KnownPolicy> {
    const [kept, answer] = await Promise.all([
      this.#kept(domain),
      this.#parts.resolver.resolve(`_mta-sts.${domain}`, 'TXT'),
    ]);
    if (answer.kind === 'unknown') return kept ?? 'unknown';
    const id = answer.kind === 'records' ? stsId(answer.records) : undefined;
    if (id === undefined || id === kept?.id) return kept;
    const hasJustFailed = this.#failed.get(domain, this.#parts.now()) !== undefined;
    return (hasJustFailed ? undefined : await this.#fetch(domain, id)) ?? kept ?? 'unknown';
  }

  async #fetch(domain: string, id: string): Promise<StsPolicy | undefined> {
    const { fetch, marks, now, log } = this.#parts;
    const fetched = await fetch(domain);
    const read = fetched.kind === 'text' ? readStsPolicy(fetched.text) : { kind: 'invalid' as const, why: fetched.why };
    if (read.kind === 'invalid') {
      log.warn({ domain, reason: read.why }, 'the MTA-STS policy of a domain cannot be used');
      const type = fetched.kind === 'text' ? 'sts-policy-invalid' : 'sts-policy-fetch-error';
      this.#parts.onFailure?.(domain, type, read.why);
      this.#failed.set(domain, true, restAfterFailureMs, now());
      return undefined;
    }
    const { mode, mx, maxAgeMs } = read.policy;
    const kept: Kept = { id, mode, mx: [...mx], maxAgeMs, expiresAt: now() + maxAgeMs };
    // Without its memory a policy is in force for this delivery all the same.
    await marks.setMark(keyOf(domain), Buffer.from(JSON.stringify(kept)), kept.expiresAt).catch((error: unknown) => {
      log.warn({ domain, error: String(error) }, 'an MTA-STS policy could not be kept');
    });
    return kept;
  }

  async #kept(domain: string): Promise<Kept | undefined> {
    const bytes = await this.#parts.marks.getMark(keyOf(domain)).catch(() => undefined);
    if (bytes === undefined) return undefined;
    const { success, data } = keptShape.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8')));
    return success && data.expiresAt > this.#parts.now() ? data : undefined;
  }
}

const keyOf = (domain: string): string => `sts:${domain}`;
