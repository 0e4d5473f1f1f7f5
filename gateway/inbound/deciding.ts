import { completeEvidence } from '../../policy/complete-evidence.ts';
import { type Decision, decide } from '../../policy/decide.ts';
import { decisionEvent } from '../../policy/decision-event.ts';
import type { Evidence, KnownEvidence, Stage } from '../../policy/evidence.ts';
import { defaultReply, type Reply } from '../../policy/policy.ts';
import { hintedText } from '../../policy/retry-hint.ts';
import type { InboundParts } from './parts.ts';
import { ok, refused, type StepResult, withTrace } from './replies.ts';

/** Decides and writes down how. Going on at an early stage is not worth a line: what was known then is known at data, too. */
export function decideAndTrace(parts: InboundParts, evidence: Evidence, trace: () => string): Decision {
  const decision = decide(parts.policy(), evidence, parts.policyLimits, parts.now());
  if (evidence.stage === 'data' || decision.verdict !== 'accept') {
    parts.trace(trace(), decisionEvent(decision, evidence));
  }
  return decision;
}

/** The step of a session that the policy decides before the message is there. `trace` is asked for where it does not go on. */
export function policyStep(parts: InboundParts, stage: Stage, known: KnownEvidence, trace: () => string): StepResult {
  if (parts.policy().rulesAt[stage].length === 0) return ok;
  const decision = decideAndTrace(parts, completeEvidence(stage, known), trace);
  const reply = refusal(decision, trace);
  return reply === undefined ? ok : refused(reply);
}

/** What the client is told where the decision is not to take the message; every refusal names the trace. */
export function refusal(decision: Decision, trace: () => string): Reply | undefined {
  if (decision.verdict !== 'reject' && decision.verdict !== 'defer') return undefined;
  const reply = decision.reply ?? defaultReply(decision.verdict);
  if (reply === undefined) return undefined;
  return withTrace({ ...reply, text: hintedText({ ...decision, reply }) ?? reply.text }, trace());
}
