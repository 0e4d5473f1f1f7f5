/** What the sender is told of mail that could not be delivered. Facts only; the door makes the RFC 3464 notice of them. Pure. */
import type { ReturnedPart } from '../returned-part.ts';
import type { Outcome } from './outcome.ts';

/** What the door's sendNotice takes. */
export interface NoticeFacts {
  readonly reportingMta: string;
  readonly sender: string;
  readonly recipients: readonly {
    readonly address: string;
    readonly action: 'failed' | 'delayed' | 'delivered' | 'relayed';
    /** RFC 3461 §4.2: `type;address` as the sender gave it. */
    readonly orcpt?: string | undefined;
    readonly status: string;
    readonly diagnostic?: string | undefined;
    readonly remoteMta?: string | undefined;
    readonly text: string;
  }[];
  readonly originalHeader: Uint8Array;
  /** All of the message: returned instead of its header. */
  readonly original?: Uint8Array | undefined;
  /** A report of another system that this is about: attached whole. */
  readonly report?: Uint8Array | undefined;
  readonly envid?: string | undefined;
  /** The message required TLS: a report of it that leaves the ring does, too (RFC 8689 §5). */
  readonly requireTls?: true | undefined;
  readonly arrivedAt: number;
  readonly now: number;
  readonly traceId: string;
}

export interface NoticeMatter extends ReturnedPart {
  readonly action: 'failed' | 'delayed' | 'relayed';
  readonly hostname: string;
  readonly sender: string;
  readonly recipients: readonly {
    readonly address: string;
    readonly outcome: Outcome;
    readonly orcpt?: string | undefined;
  }[];
  readonly envid?: string | undefined;
  readonly requireTls?: true | undefined;
  readonly arrivedAt: number;
  /** When it was found out, not when it is told: the same facts must make the same notice if telling is tried again. */
  readonly at: number;
  readonly giveUpAt: number;
  readonly trace: string;
}

/** RFC 3464 §2.3: one report for all recipients that share a message and an action. */
export function noticeFacts(matter: NoticeMatter): NoticeFacts {
  return {
    reportingMta: matter.hostname,
    sender: matter.sender,
    recipients: matter.recipients.map(({ address, outcome, orcpt }) => ({
      address,
      orcpt,
      action: matter.action,
      status: outcome.kind === 'delivered' ? '2.0.0' : outcome.status,
      // RFC 3464 §2.3.6: only what a remote host said is of type smtp.
      diagnostic: outcome.host === undefined ? undefined : `smtp; ${outcome.reply}`,
      remoteMta: outcome.host,
      text: sentence(matter, outcome),
    })),
    originalHeader: matter.originalHeader,
    ...(matter.original === undefined ? {} : { original: matter.original }),
    envid: matter.envid,
    requireTls: matter.requireTls,
    arrivedAt: matter.arrivedAt,
    now: matter.at,
    traceId: matter.trace,
  };
}

function sentence(matter: NoticeMatter, outcome: Outcome): string {
  const said = outcome.host === undefined ? outcome.reply : `${outcome.host} said: ${outcome.reply}`;
  if (matter.action === 'failed') return `Your message was not delivered, and will not be tried again. ${said}`;
  if (matter.action === 'relayed')
    return `It was handed over to ${outcome.host ?? 'its mail host'}, which does not say what becomes of it there.`;
  const until = new Date(matter.giveUpAt).toUTCString();
  return `Your message has not been delivered yet. You need not do anything: it will be tried until ${until}. ${said}`;
}
