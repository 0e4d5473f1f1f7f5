import type { Condition } from './condition.ts';
import type { Stage } from './evidence.ts';
import type { ValueExpression } from './expression.ts';
import type { Rate } from './limits.ts';
import type { NameList } from './name-list.ts';
import type { NamedClass } from './view.ts';

export const verdicts = ['accept', 'junk', 'quarantine', 'defer', 'reject', 'hold', 'introduce'] as const;
export type Verdict = (typeof verdicts)[number];

/**
 * What each stage can do. Before the message is there, only going on (accept), waiting or refusing make sense; junk is a
 * folder of a recipient; what leaves can be held for the postmaster. A recipient answers at once, so he cannot defer; to introduce is to
 * put into the folder of first contacts.
 */
export const verdictsAt: Readonly<Record<Stage, readonly Verdict[]>> = {
  connect: ['accept', 'defer', 'reject'],
  mail: ['accept', 'defer', 'reject'],
  rcpt: ['accept', 'defer', 'reject'],
  data: ['accept', 'junk', 'quarantine', 'defer', 'reject', 'hold'],
  relay: ['accept', 'defer', 'reject', 'hold'],
  notification: ['accept', 'introduce', 'junk', 'quarantine', 'reject'],
};

/** The stages at which a message as a whole is decided; the policy's default speaks there. */
export const finalStages: readonly Stage[] = ['data', 'relay', 'notification'];

/** An SMTP reply; the enhanced code is of RFC 3463. */
export interface Reply {
  readonly code: number;
  readonly enhanced: string;
  readonly text: string;
}

export interface Limit {
  readonly by: ValueExpression;
  readonly cost: ValueExpression | undefined;
  readonly rate: Rate;
  /** As written, for people. */
  readonly rateText: string;
  readonly over: Verdict;
}

export interface Rule {
  readonly id: string;
  readonly line: number;
  readonly stages: readonly Stage[];
  readonly mode: 'enforce' | 'shadow';
  readonly when: Condition;
  readonly limit: Limit | undefined;
  /** The verdict; undefined in a rule that only limits, which decides nothing while within the limit. */
  readonly verdict: Verdict | undefined;
  readonly reply: Reply | undefined;
  readonly note: string;
}

/** A loaded policy: checked, immutable, and known by the hash of its text. */
export interface Policy {
  readonly version: 1;
  /** SHA-256 of the text, hexadecimal. */
  readonly hash: string;
  readonly text: string;
  readonly lists: Readonly<Record<string, NameList>>;
  readonly classes: readonly NamedClass[];
  readonly rules: readonly Rule[];
  readonly rulesAt: Readonly<Record<Stage, readonly Rule[]>>;
  readonly default: Verdict;
}

/** Rules that every policy has, whatever the file says. */
export const implied = {
  noRelay: 'no-relay-for-strangers',
  blocked: 'blocked-everywhere',
  organisation: 'organisation',
  couldNotFindOut: 'could-not-find-out',
  default: 'default',
} as const;

const replies: Readonly<Record<'reject' | 'defer', Reply>> = {
  // RFC 3463 X.7.1: delivery not authorized, message refused.
  reject: { code: 550, enhanced: '5.7.1', text: 'refused by policy' },
  defer: { code: 451, enhanced: '4.7.1', text: 'please try again later' },
};

/** The reply of a verdict that says nothing of its own; undefined for verdicts that refuse nothing. */
export function defaultReply(verdict: Verdict): Reply | undefined {
  return verdict === 'reject' || verdict === 'defer' ? replies[verdict] : undefined;
}
