import { factValue } from './complete-evidence.ts';
import type { Decision, TraceStep } from './decide.ts';
import { type Evidence, factsByPath } from './evidence.ts';
import { implied } from './policy.ts';
import { reasonsText } from './reason.ts';
import { inWords } from './retry-hint.ts';
import { shownValue } from './shown-value.ts';

/** A decision in plain words, one fact to a line: what was decided, what was known, which rules matched or not, and why. */
export function explain(decision: Decision, evidence?: Evidence): string {
  const lines = [
    headline(decision),
    `The sender's class is ${decision.class}.`,
    ...(decision.reply
      ? [`The answer was: ${decision.reply.code} ${decision.reply.enhanced} ${decision.reply.text}`]
      : []),
    ...(decision.retryAfterMs === undefined
      ? []
      : [`Trying again makes sense after ${inWords(decision.retryAfterMs)}.`]),
    ...(evidence === undefined ? [] : ['', 'What was known:', ...known(evidence).map((line) => `  ${line}`)]),
    '',
    'Rules, in order:',
    ...decision.trace.map((step) => `  ${explainRule(step)}`),
    ...decision.shadow.map((id) => `Rule ${id} is in shadow mode: it would have decided, and was only counted.`),
    '',
    `Policy ${decision.policyHash.slice(0, 12)}.`,
  ];
  return `${lines.join('\n')}\n`;
}

function headline(decision: Decision): string {
  const by =
    decision.rule === implied.default
      ? 'no rule matched, so the default holds'
      : decision.rule === implied.organisation
        ? 'the organisation’s verdict stands'
        : `decided by rule ${decision.rule}`;
  return `${decision.verdict} at ${decision.stage}: ${by}.`;
}

/** One step of a trace as a sentence. */
export function explainRule(step: TraceStep): string {
  const told = step.matched !== 'no' || step.mode === 'implied';
  const note = step.note === undefined || !told ? '' : ` (${step.note})`;
  const shadow = step.mode === 'shadow' ? ', in shadow mode,' : '';
  return `${step.rule}${shadow} ${outcome(step)}${limit(step)}${note}.`;
}

function outcome(step: TraceStep): string {
  const why = reasonsText(step.because);
  switch (step.matched) {
    case 'yes':
      return `matched${why === '' ? '' : ` because ${why}`}${step.verdict === undefined ? '' : `: ${step.verdict}`}`;
    case 'no':
      return `did not match${why === '' ? '' : ` because ${why}`}`;
    case 'unknown':
      return `could not be settled${why === '' ? '' : ` because ${why}`}`;
    default:
      return 'failed';
  }
}

function limit({ limit: state, verdict }: TraceStep): string {
  if (state === undefined) return '';
  const key = state.key === '' ? 'the empty key' : state.key;
  if (state.state === 'over') return `; ${key} is over its limit of ${state.rate}`;
  return `; ${key} is within its limit of ${state.rate}${verdict === undefined ? ', so the rule decides nothing' : ''}`;
}

function known(evidence: Evidence): readonly string[] {
  return [...factsByPath.values()]
    .filter((fact) => fact.stages.includes(evidence.stage))
    .map((fact) => `${fact.path} = ${shownValue(factValue(evidence, fact))}`);
}
