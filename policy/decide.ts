import { factValue } from './complete-evidence.ts';
import { type Atom, atomsOf, reasonsFor, type Truth, truthOf } from './condition.ts';
import type { Evidence, Fact, Stage } from './evidence.ts';
import type { LimitState } from './limits.ts';
import { defaultReply, finalStages, implied, type Policy, type Reply, type Rule, type Verdict } from './policy.ts';
import { shownValue } from './shown-value.ts';
import { askAtom, type View, viewOf } from './view.ts';

export interface AtomTrace {
  readonly text: string;
  /** The facts it read, as `dmarc.result = "fail"`. */
  readonly known: string;
  readonly holds: Truth;
}

/** What one rule came to. `unknown`: it rests on something that could not be found out. */
export interface TraceStep {
  readonly rule: string;
  readonly mode: 'enforce' | 'shadow' | 'implied';
  readonly matched: 'yes' | 'no' | 'unknown' | 'error';
  /** The verdict this rule gives, if it gives one. */
  readonly verdict?: Verdict;
  readonly because: readonly AtomTrace[];
  readonly limit?: {
    readonly key: string;
    readonly rate: string;
    readonly state: 'within' | 'over';
    readonly retryAfterMs?: number;
  };
  /** What a person should read: the rule's note, or the error. */
  readonly note?: string;
}

export interface Decision {
  readonly verdict: Verdict;
  /** The rule that decided; `default` and the implied rules have names too. */
  readonly rule: string;
  /** The sender's class; `unknown` where what tells classes apart could not be found out. */
  readonly class: string;
  readonly stage: Stage;
  /** What to answer an SMTP client; present for reject and defer. */
  readonly reply?: Reply;
  readonly retryAfterMs?: number;
  readonly policyHash: string;
  readonly trace: readonly TraceStep[];
  /** Rules in shadow mode that would have decided, in order. */
  readonly shadow: readonly string[];
}

/** An enforced rule before the deciding one of which it is not known whether it matches. */
interface Doubt {
  readonly verdicts: readonly (Verdict | undefined)[];
  /** The facts that were unknown; undefined when the rule failed to evaluate, which no other rule can make good. */
  readonly facts: readonly string[] | undefined;
}

// The time after which a resolver's negative and failure caches are usually gone (RFC 9520 §3.2: at most 5 minutes).
const retryUnknownMs = 300_000;

/**
 * Decides. Pure but for taking tokens from `limits`, total, and with work bounded by the policy. The first enforced rule
 * that matches decides. A rule that rests on something unknown neither matches nor fails: if it could change the
 * verdict, the answer is to wait (`could-not-find-out`), unless the deciding rule names that `unknown` itself. The same
 * holds for an expression that fails, which load-time checks should make impossible.
 */
export function decide(policy: Policy, evidence: Evidence, limits: LimitState, now: number): Decision {
  try {
    return new Deciding(policy, evidence, limits, now).run();
  } catch (error) {
    // Evidence that lacks what the table promises: nobody's fault outside, and never a reason to accept or refuse.
    const step = impliedStep(
      implied.couldNotFindOut,
      'yes',
      'defer',
      `the evidence could not be read: ${String(error)}`,
    );
    return {
      ...waiting(),
      class: 'unknown',
      stage: evidence.stage,
      policyHash: policy.hash,
      trace: [step],
      shadow: [],
    };
  }
}

class Deciding {
  readonly #policy: Policy;
  readonly #view: View;
  readonly #limits: LimitState;
  readonly #now: number;
  readonly #trace: TraceStep[] = [];
  readonly #shadow: string[] = [];
  readonly #doubts: Doubt[] = [];
  // The same fact stands in many rules.
  readonly #shownFacts = new Map<Fact, string>();
  readonly #shownAtoms: (AtomTrace | undefined)[] = [];

  constructor(policy: Policy, evidence: Evidence, limits: LimitState, now: number) {
    this.#policy = policy;
    this.#view = viewOf(evidence, policy.lists, policy.classes);
    this.#limits = limits;
    this.#now = now;
  }

  run(): Decision {
    const { evidence } = this.#view;
    if (evidence.stage === 'relay') {
      if (!evidence.identity.verified) return this.#noRelay();
      this.#trace.push(impliedStep(implied.noRelay, 'no', 'reject', 'the sender proved an identity'));
    }
    if (evidence.identity.standing === 'blocked') return this.#blocked();
    for (const rule of this.#policy.rulesAt[evidence.stage]) {
      const decision = this.#consider(rule);
      if (decision !== undefined) return decision;
    }
    return this.#byDefault();
  }

  // No policy can relay for strangers: this comes before every rule of the file.
  #noRelay(): Decision {
    this.#trace.push(impliedStep(implied.noRelay, 'yes', 'reject', 'relaying is for verified identities only'));
    const reply: Reply = { code: 550, enhanced: '5.7.1', text: 'relaying denied' };
    return this.#decision('reject', implied.noRelay, { reply });
  }

  // Only where an identity is proven is its standing anything but good.
  #blocked(): Decision {
    const { address } = this.#view.evidence.identity;
    this.#trace.push(impliedStep(implied.blocked, 'yes', 'reject', `the authority of the ring has blocked ${address}`));
    const reply: Reply = { code: 550, enhanced: '5.7.1', text: 'this sender is blocked by its ring' };
    return this.#decision('reject', implied.blocked, { reply });
  }

  #consider(rule: Rule): Decision | undefined {
    const step = this.#judge(rule);
    this.#trace.push(step);
    if (step.matched === 'unknown' || step.matched === 'error') this.#doubt(rule, step.matched);
    if (step.matched !== 'yes' || step.verdict === undefined) return undefined;
    if (rule.mode === 'shadow') {
      this.#shadow.push(rule.id);
      return undefined;
    }
    if (this.#doubted(step.verdict, rule)) return this.#wait();
    const retryAfterMs = step.limit?.retryAfterMs;
    const reply = replyOf(rule, step.verdict);
    return this.#decision(step.verdict, rule.id, {
      ...(reply === undefined ? {} : { reply }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }

  #judge(rule: Rule): TraceStep {
    const { id, mode, note, when } = rule;
    try {
      const truth = truthOf(when, this.#ask);
      const because = reasonsFor(when, this.#ask).map(this.#shown);
      const matched = truth === true ? 'yes' : truth === false ? 'no' : 'unknown';
      // Most rules come to this, and a policy may have a thousand.
      const step: TraceStep =
        note === '' ? { rule: id, mode, matched, because } : { rule: id, mode, matched, because, note };
      return truth === true ? { ...step, ...this.#limited(rule) } : step;
    } catch (error) {
      return { rule: id, mode, matched: 'error', because: [], note: String(error) };
    }
  }

  #limited(rule: Rule): Partial<TraceStep> {
    const { limit } = rule;
    const within = rule.verdict === undefined ? {} : { verdict: rule.verdict };
    if (limit === undefined) return within;
    if (limit.by.restsOn.some((path) => this.#view.unknown.has(path))) return { matched: 'unknown' };
    const { context } = this.#view;
    const key = String(limit.by.evaluate(context));
    const cost = limit.cost === undefined ? 1 : Number(limit.cost.evaluate(context));
    const taken = this.#limits.take(`${rule.id} ${key}`, cost, limit.rate, this.#now);
    if (taken.kind === 'within') return { ...within, limit: { key, rate: limit.rateText, state: 'within' } };
    const { retryAfterMs } = taken;
    return { verdict: limit.over, limit: { key, rate: limit.rateText, state: 'over', retryAfterMs } };
  }

  #byDefault(): Decision {
    const verdict = finalStages.includes(this.#view.evidence.stage) ? this.#policy.default : 'accept';
    if (this.#doubted(verdict)) return this.#wait();
    this.#trace.push(impliedStep(implied.couldNotFindOut, 'no', 'defer', 'nothing that matters is unknown'));
    this.#trace.push(impliedStep(implied.default, 'yes', verdict, ''));
    const reply = defaultReply(verdict);
    return this.#decision(verdict, implied.default, reply === undefined ? {} : { reply });
  }

  #doubt(rule: Rule, matched: 'unknown' | 'error'): void {
    if (rule.mode === 'shadow') return;
    const verdicts = rule.limit === undefined ? [rule.verdict] : [rule.verdict, rule.limit.over];
    const rests = [...atomsOf(rule.when).flatMap((atom) => this.#rests(atom)), ...(rule.limit?.by.restsOn ?? [])];
    const facts = rests.filter((path) => this.#view.unknown.has(path));
    this.#doubts.push({ verdicts, facts: matched === 'error' ? undefined : facts });
  }

  // The class rests on what its conditions rest on.
  #rests(atom: Atom): readonly string[] {
    if (!atom.readsClass) return atom.restsOn;
    return [
      ...atom.restsOn,
      ...this.#policy.classes.flatMap(({ when }) => atomsOf(when).flatMap((part) => part.restsOn)),
    ];
  }

  /** Whether a rule passed over for lack of knowledge could have decided otherwise. */
  #doubted(verdict: Verdict, by?: Rule): boolean {
    const names = by === undefined ? [] : atomsOf(by.when).flatMap((atom) => atom.names);
    return this.#doubts.some(
      ({ verdicts, facts }) =>
        verdicts.some((other) => other !== undefined && other !== verdict) &&
        (facts === undefined || !facts.every((path) => names.includes(path))),
    );
  }

  #wait(): Decision {
    const facts = this.#doubts.flatMap((doubt) => doubt.facts ?? ['a rule that failed']);
    const note = `a rule above rests on what could not be found out: ${[...new Set(facts)].join(', ')}`;
    this.#trace.push(impliedStep(implied.couldNotFindOut, 'yes', 'defer', note));
    const { verdict, rule, ...rest } = waiting();
    return this.#decision(verdict, rule, rest);
  }

  #decision(verdict: Verdict, rule: string, rest: Pick<Decision, 'reply' | 'retryAfterMs'>): Decision {
    const { classes, evidence } = this.#view;
    return {
      verdict,
      rule,
      class: classes.length === 1 ? (classes[0] ?? 'unknown') : 'unknown',
      stage: evidence.stage,
      ...rest,
      policyHash: this.#policy.hash,
      trace: this.#trace,
      shadow: this.#shadow,
    };
  }

  readonly #ask = (atom: Atom): Truth => askAtom(atom, this.#view);

  #shownFact(fact: Fact): string {
    const before = this.#shownFacts.get(fact);
    if (before !== undefined) return before;
    const text = `${fact.path} = ${shownValue(factValue(this.#view.evidence, fact))}`;
    this.#shownFacts.set(fact, text);
    return text;
  }

  readonly #shown = (atom: Atom): AtomTrace => {
    const before = this.#shownAtoms[atom.number];
    if (before !== undefined) return before;
    const shown = { text: atom.text, known: this.#known(atom), holds: this.#ask(atom) };
    this.#shownAtoms[atom.number] = shown;
    return shown;
  };

  #known(atom: Atom): string {
    const [only, ...others] = atom.facts;
    if (only !== undefined && others.length === 0 && !atom.readsClass && !atom.readsStage) return this.#shownFact(only);
    const { evidence, classes } = this.#view;
    const known = atom.facts.map((fact) => this.#shownFact(fact));
    if (atom.readsClass) known.push(`class = ${classes.map(shownValue).join(' or ')}`);
    if (atom.readsStage) known.push(`stage = ${shownValue(evidence.stage)}`);
    return known.join(', ');
  }
}

function waiting() {
  // RFC 3463 X.4.3: directory server failure, which is how a name server that does not answer is reported.
  const reply: Reply = { code: 451, enhanced: '4.4.3', text: 'could not check the sender; please try again later' };
  return { verdict: 'defer', rule: implied.couldNotFindOut, reply, retryAfterMs: retryUnknownMs } as const;
}

function impliedStep(rule: string, matched: 'yes' | 'no', verdict: Verdict, note: string): TraceStep {
  return {
    rule,
    mode: 'implied',
    matched,
    ...(matched === 'yes' ? { verdict } : {}),
    because: [],
    ...(note === '' ? {} : { note }),
  };
}

function replyOf(rule: Rule, verdict: Verdict): Reply | undefined {
  const reply = defaultReply(verdict);
  // A rule with a limit can give two verdicts; its reply is for the one whose code it has.
  if (reply === undefined || rule.reply === undefined) return reply;
  return Math.floor(rule.reply.code / 100) === Math.floor(reply.code / 100) ? rule.reply : reply;
}
