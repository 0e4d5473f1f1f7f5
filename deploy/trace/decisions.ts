import { completeEvidence } from '../../policy/complete-evidence.ts';
import type { Evidence, KnownEvidence, Stage } from '../../policy/evidence.ts';
import type { PastDecision } from '../../policy/replay.ts';
import { firstTraceIdAt } from './id.ts';
import { factText, type TraceStore } from './store.ts';

/** The evidence of a stored decision, whole again. Throws where the text is none. */
export function pastEvidence(stage: string, text: string): Evidence {
  // Decisions of before there were scanners say nothing of them, which is not that they did not answer: then the reason is there.
  const before: KnownEvidence = { clamav: { result: 'none' }, rspamd: { result: 'none' } };
  return completeEvidence(stage as Stage, { ...before, ...(JSON.parse(text) as KnownEvidence) });
}

/** The decisions by the organisation's policy that this home made since a moment (ms), oldest first, one at a time; damaged ones are passed over and counted by `onDamaged`. */
export function* pastDecisions(store: TraceStore, since: number, onDamaged: () => void): Iterable<PastDecision> {
  for (const { id, event } of store.eventsOf('decision', firstTraceIdAt(since))) {
    const { at, verdict, rule, stage, evidence } = event;
    // Decided by the policy of a recipient.
    if (stage === 'notification') continue;
    if (evidence === undefined) {
      onDamaged();
      continue;
    }
    try {
      yield {
        id,
        at,
        verdict: factText(verdict),
        rule: factText(rule),
        evidence: pastEvidence(factText(stage), factText(evidence)),
      };
    } catch {
      onDamaged();
    }
  }
}
