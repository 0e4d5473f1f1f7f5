import { evidenceAt } from './complete-evidence.ts';
import { type Decision, decide } from './decide.ts';
import type { Evidence, Stage } from './evidence.ts';
import { Limits } from './limits.ts';
import type { Policy, Verdict } from './policy.ts';

/** A decision that was made, with what it was made on. */
export interface PastDecision {
  readonly id: string;
  /** When, in ms. */
  readonly at: number;
  readonly verdict: string;
  readonly rule: string;
  readonly evidence: Evidence;
}

export interface Change {
  readonly from: { readonly verdict: string; readonly rule: string };
  /** `go-on`: what was refused before its message was there would not have been; what would then have become of it nobody knows. */
  readonly to: { readonly verdict: Verdict | 'go-on'; readonly rule: string };
  readonly class: string;
  readonly count: number;
  readonly samples: readonly string[];
}

export interface ReplayReport {
  readonly decided: number;
  readonly changed: number;
  /** The commonest first. */
  readonly changes: readonly Change[];
  /** Senders whose mail would fare otherwise, the commonest first. */
  readonly senders: readonly { readonly sender: string; readonly count: number }[];
  /** Rules of the new policy in shadow mode: how often each would have decided. */
  readonly shadow: readonly { readonly rule: string; readonly count: number; readonly samples: readonly string[] }[];
}

type Counted = Omit<Change, 'count' | 'samples'> & { count: number; readonly samples: string[] };

const beforeData: readonly Stage[] = ['connect', 'mail', 'rcpt'];
const maxSamples = 5;
// Senders are strangers' words: beyond these they are counted together.
const maxSenders = 10_000;
const others = '(others)';
const shownSenders = 20;

/**
 * Decides past mail again, in the order in which it came, with limits that start empty and run by the times of then. A message is led through all stages of its
 * session, so that a new rule at an early stage shows too. Bounded, whatever the number of decisions.
 */
export class Replay {
  readonly #policy: Policy;
  readonly #limits = new Limits();
  readonly #changes = new Map<string, Counted>();
  readonly #senders = new Map<string, number>();
  readonly #shadow = new Map<string, { count: number; samples: string[] }>();
  #decided = 0;
  #changed = 0;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  add(past: PastDecision): void {
    this.#decided += 1;
    const decision = this.#again(past);
    for (const rule of decision.shadow) this.#count(this.#shadow, rule, past.id);
    const early = beforeData.includes(past.evidence.stage);
    const verdict: Change['to']['verdict'] = early && decision.verdict === 'accept' ? 'go-on' : decision.verdict;
    if (verdict === past.verdict) return;
    this.#changed += 1;
    const { envelope, author, identity } = past.evidence;
    const sender = identity.address || author.address || envelope.from || '<>';
    const known = this.#senders.has(sender) || this.#senders.size < maxSenders ? sender : others;
    this.#senders.set(known, (this.#senders.get(known) ?? 0) + 1);
    const from = { verdict: past.verdict, rule: past.rule };
    const to = { verdict, rule: decision.rule };
    const key = JSON.stringify([from, to, decision.class]);
    const change: Counted = this.#changes.get(key) ?? { from, to, class: decision.class, count: 0, samples: [] };
    change.count += 1;
    if (change.samples.length < maxSamples) change.samples.push(past.id);
    this.#changes.set(key, change);
  }

  report(): ReplayReport {
    const byCount = (a: { count: number }, b: { count: number }): number => b.count - a.count;
    return {
      decided: this.#decided,
      changed: this.#changed,
      changes: [...this.#changes.values()].sort(byCount),
      senders: [...this.#senders]
        .map(([sender, count]) => ({ sender, count }))
        .sort(byCount)
        .slice(0, shownSenders),
      shadow: [...this.#shadow].map(([rule, { count, samples }]) => ({ rule, count, samples })).sort(byCount),
    };
  }

  #again({ evidence, at }: PastDecision): Decision {
    if (evidence.stage === 'data') {
      for (const stage of beforeData) {
        if (this.#policy.rulesAt[stage].length === 0) continue;
        const early = decide(this.#policy, evidenceAt(stage, evidence), this.#limits, at);
        if (early.verdict !== 'accept') return early;
      }
    }
    return decide(this.#policy, evidence, this.#limits, at);
  }

  #count(counts: Map<string, { count: number; samples: string[] }>, key: string, id: string): void {
    const entry = counts.get(key) ?? { count: 0, samples: [] };
    entry.count += 1;
    if (entry.samples.length < maxSamples) entry.samples.push(id);
    counts.set(key, entry);
  }
}
