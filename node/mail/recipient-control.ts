/** What becomes of a letter at its recipient, decided on the notification, before anything of the message is fetched (DESIGN §9). */

import { domainOf, parseAddress, parseDomain, withoutTag } from '../../policy/address.ts';
import { completeEvidence } from '../../policy/complete-evidence.ts';
import { decisionEvent } from '../../policy/decision-event.ts';
import type { Evidence } from '../../policy/evidence.ts';
import type { LimitState } from '../../policy/limits.ts';
import { authorIsProven } from '../../policy/mildness.ts';
import type { Policy } from '../../policy/policy.ts';
import { decideForRecipient, type Placing } from '../../policy/recipient.ts';
import type { IdentityCertificate } from '../identity/certificate.ts';
import { fingerprint } from '../identity/fingerprint.ts';
import type { RingDescriptor } from '../identity/ring.ts';
import type { TraceEvent } from '../notify/notify.ts';
import type { Opened } from '../notify/sealed.ts';
import type { MailLetter } from './letter.ts';
import type { Clock } from './mail-post.ts';
import type { RecipientBook } from './recipient-book.ts';
import { seenOutside } from './seen-outside.ts';

export type Placement =
  /** `author`: who wrote it, where that is proven. */
  | { readonly kind: 'place'; readonly placing: Exclude<Placing, 'reject'>; readonly author?: string }
  | { readonly kind: 'refuse'; readonly rule: string }
  | { readonly kind: 'later'; readonly reason: string };

export interface RecipientControl {
  /** The same notification gets the same answer again, but for `later`. */
  place(letter: MailLetter, opened: Opened): Promise<Placement>;
  /** To be called with the proven author of what is in the inbox. */
  welcomed(author: string): Promise<void>;
}

export interface RecipientControlParts {
  readonly recipient: string;
  /** The user's own; without one the organisation's verdict stands. */
  readonly policy: () => Policy | undefined;
  readonly limits: LimitState;
  readonly book: Pick<RecipientBook, 'meet' | 'knows' | 'decided' | 'decision'>;
  readonly ring: Pick<RingDescriptor, 'name' | 'domains'>;
  /** What the authority says of an identity. */
  readonly standing: (identity: IdentityCertificate) => Evidence['identity']['standing'];
  readonly trace: (id: string, event: TraceEvent) => void;
  readonly now: Clock;
}

/** Of one who is slowed a recipient's node takes this much; the rest waits at the holders and comes in as time goes. */
export const slowedRate = { amount: 20, perMs: 3_600_000, burst: 20 };

export function recipientControl(parts: RecipientControlParts): RecipientControl {
  const { recipient, policy, limits, book, trace, now } = parts;
  return {
    async place(letter, opened) {
      const known = book.decision(opened.id);
      const evidence = evidenceOf(letter, opened, parts);
      if (known !== undefined) return placementOf(known.placed as Placing, known.rule, evidence);
      const { standing, address } = evidence.identity;
      if (standing === 'slowed' && limits.take(`slowed ${address}`, 1, slowedRate, now()).kind === 'over')
        return { kind: 'later', reason: `${address} is slowed by the authority of the ring` };
      const own = policy();
      // Nothing to decide, and nothing to tell: the organisation's verdict is in its own trace.
      if (own === undefined && standing !== 'blocked') return placementOf(evidence.organisation.verdict, '', evidence);
      const decision = decideForRecipient(own ?? noPolicy, evidence, limits, now());
      trace(letter.trace, { ...decisionEvent(decision, evidence), recipient });
      await book.decided(opened.id, decision.verdict, decision.rule);
      return placementOf(decision.verdict, decision.rule, evidence);
    },
    async welcomed(author) {
      await book.meet('seen', personOf(author));
    },
  };
}

const noPolicy: Policy = {
  version: 1,
  hash: '',
  text: '',
  lists: {},
  classes: [],
  rules: [],
  rulesAt: { connect: [], mail: [], rcpt: [], data: [], relay: [], notification: [] },
  default: 'accept',
};

function placementOf(placing: Placing, rule: string, evidence: Evidence): Placement {
  if (placing === 'reject') return { kind: 'refuse', rule };
  // Only the proven one: or a forger would make himself known under other people's names.
  return { kind: 'place', placing, ...(authorIsProven(evidence) ? { author: evidence.author.address } : {}) };
}

function evidenceOf(
  { envelope, message, folder, provenance }: MailLetter,
  { from }: Opened,
  { ring, book, standing, now }: RecipientControlParts,
): Evidence {
  const outside = from.kind === 'gateway' && provenance !== undefined ? seenOutside(provenance, from) : undefined;
  // Whoever signs for himself is the author, or his letter is refused when it is read (delivery.ts).
  const author = outside?.author ?? (from.kind === 'gateway' ? { kind: 'none' as const } : ownAuthor(from));
  const inside = { spf: none, dmarc: none, arc: none, dkim: none };
  const about = author.address ?? '';
  return completeEvidence('notification', {
    // What a gateway should have said and did not stays unknown.
    ...(from.kind === 'gateway' ? {} : inside),
    ...outside,
    author,
    envelope: { from: envelope.from, fromDomain: parseDomain(envelope.from.split('@').at(-1) ?? '') ?? '' },
    identity: {
      verified: true,
      address: from.address,
      ring: from.ring,
      kind: from.kind,
      certificateAgeDays: Math.max(0, Math.floor((now() - from.notBefore) / 86_400_000)),
      key: fingerprint(from.signingKey),
      issuer: fingerprint(from.issuer),
      standing: standing(from),
    },
    // The letter's folder is what counts: a postmaster may have released what a rule held.
    organisation: { rule: outside?.organisation?.rule ?? '', verdict: folder === 'junk' ? 'junk' : 'accept' },
    message: { bytes: message.size },
    history: {
      seenSender: about !== '' && book.knows('seen', personOf(about)),
      wroteTo: about !== '' && book.knows('wrote', personOf(about)),
    },
    ring: { name: ring.name, domains: [...ring.domains] },
  });
}

const none = { result: 'none' } as const;

function ownAuthor({ address }: IdentityCertificate): Partial<Evidence['author']> {
  return { kind: 'single', address, domain: domainOf(address) };
}

/** One spelling of an address, its tag left off, as people are remembered by. */
export function personOf(address: string): string {
  const parsed = parseAddress(address);
  return parsed.kind === 'address' ? withoutTag(parsed.address) : address.toLowerCase();
}
