/** How a decision is written down: verdict, rule, class, all that was known, and what each rule came to. No content, and no more than a trace takes. */
import { compactEvidence } from './complete-evidence.ts';
import type { Decision, TraceStep } from './decide.ts';
import type { Evidence } from './evidence.ts';

export interface DecisionEvent {
  readonly what: 'decision';
  readonly stage: string;
  readonly verdict: string;
  readonly rule: string;
  readonly class: string;
  readonly policy: string;
  readonly reply?: string;
  readonly shadow: readonly string[];
  /** JSON of the steps: of Decision['trace']. */
  readonly steps: string;
  /** JSON of what {@link compactEvidence} leaves of the evidence. */
  readonly evidence: string;
  readonly [fact: string]: string | readonly string[] | undefined;
}

// A trace takes 64 KiB an event; a policy of a hundred rules stays below this.
const maxStepsChars = 24_000;
// A hundred recipients of 320 octets would fit; what is longer is somebody's mischief.
const maxEvidenceChars = 36_000;

export function decisionEvent(decision: Decision, evidence: Evidence): DecisionEvent {
  const { stage, verdict, rule, policyHash, shadow, trace, reply } = decision;
  return {
    what: 'decision',
    stage,
    verdict,
    rule,
    class: decision.class,
    policy: policyHash,
    ...(reply === undefined ? {} : { reply: `${reply.code} ${reply.enhanced} ${reply.text}` }),
    shadow,
    steps: stepsText(trace),
    evidence: evidenceText(evidence),
  };
}

/** Whole JSON in any case: where it is too long, without the reasons of the rules that did not match, then without those rules. */
function stepsText(trace: readonly TraceStep[]): string {
  const whole = JSON.stringify(trace);
  if (whole.length <= maxStepsChars) return whole;
  const short = JSON.stringify(trace.map((step) => (step.matched === 'no' ? { ...step, because: [] } : step)));
  if (short.length <= maxStepsChars) return short;
  const matched = trace.filter((step) => step.matched !== 'no').map((step) => ({ ...step, because: [] }));
  return JSON.stringify(matched.slice(-100));
}

function evidenceText(evidence: Evidence): string {
  const whole = JSON.stringify(compactEvidence(evidence));
  if (whole.length <= maxEvidenceChars) return whole;
  const { envelope, dkim, ...rest } = evidence;
  const few = {
    ...rest,
    envelope: { ...envelope, recipients: envelope.recipients.slice(0, 10) },
    dkim: { ...dkim, domains: dkim.domains.slice(0, 10) },
  };
  return JSON.stringify(compactEvidence(few));
}
