import { type Address, type Domain, parseAddress, withoutTag } from '../../policy/address.ts';
import type { Reply } from '../../policy/policy.ts';
import type { Returned } from '../returns/return-path.ts';
import { replies } from './replies.ts';

/** What the ring says of an address; node's Lookup fits. */
export type Found =
  | {
      readonly kind: 'found';
      readonly certificate: { readonly kind: string };
      readonly record?: { readonly list?: { readonly posting: string } | undefined } | undefined;
    }
  | { readonly kind: 'none' }
  | { readonly kind: 'revoked' }
  | { readonly kind: 'unknown'; readonly reason: string };

export interface RecipientRules {
  /** The domains this gateway takes mail for; the first one is meant by `postmaster` alone. */
  readonly domains: readonly Domain[];
  /** Addresses that are another name for a user, such as postmaster (RFC 5321 §4.5.1). */
  readonly aliases: ReadonlyMap<Address, Address>;
  /** Must answer within bounds; a throw is `unknown`. */
  readonly lookup: (address: Address) => Promise<Found>;
  /** What an address says if it is one of the return paths that our mail went out with. */
  readonly returned: (address: string) => Returned;
  /** The reverse-path; empty for the null sender. */
  readonly from: string;
  /** The address was taken out of a return path of ours. */
  readonly returns?: true;
}

export type RecipientAnswer =
  /** `returned`: named by a return path of ours, so that this answers something that was sent. */
  | {
      readonly kind: 'recipient';
      readonly address: Address;
      readonly returned?: true;
      /** A list that takes posts of its members only: whether he is one shows when the author does. */
      readonly forMembers?: true;
    }
  | { readonly kind: 'unknown-user'; readonly reply: Reply }
  | { readonly kind: 'refused'; readonly reply: Reply };

// A gateway's or the mailer-daemon's identity has no mailbox; only people and lists take mail.
const receiving: ReadonlySet<string> = new Set(['user', 'list']);
/** Lists that take posts signed in the ring alone (node/store/directory.ts). */
const ringOnly: ReadonlySet<string> = new Set(['ring', 'owners']);

/**
 * Who a RCPT TO address means. It is looked up as it is written and never taken apart: `%`, `!` and quoted forms lead
 * nowhere, so that nobody can have mail sent on. A subaddress (RFC 5233) means its exact name first, then the user.
 */
export async function recipientOf(text: string, rules: RecipientRules): Promise<RecipientAnswer> {
  const [firstDomain] = rules.domains;
  // RFC 5321 §4.1.1.3: postmaster without a domain.
  const full = /^postmaster$/i.test(text) && firstDomain !== undefined ? `postmaster@${firstDomain}` : text;
  const parsed = parseAddress(full);
  if (parsed.kind === 'invalid') return { kind: 'refused', reply: replies.badRecipient };
  // A final dot is none of ours to take away.
  if (!rules.domains.includes(parsed.domain) || full.endsWith('.')) return { kind: 'refused', reply: replies.noRelay };
  const returned = rules.returned(full);
  switch (returned.kind) {
    case 'signed': {
      const answer = await recipientOf(returned.address, {
        ...rules,
        returned: () => ({ kind: 'plain' }),
        returns: true,
      });
      return answer.kind === 'recipient' ? { ...answer, returned: true } : answer;
    }
    case 'forwarded':
      // A way back for bounces, and no way in for mail.
      return rules.from === ''
        ? { kind: 'recipient', address: parsed.address, returned: true }
        : { kind: 'refused', reply: replies.bouncesOnly };
    case 'expired':
      return { kind: 'refused', reply: replies.returnPathExpired };
    case 'forged':
      return { kind: 'refused', reply: replies.returnPathForged };
    default:
  }
  const plain = withoutTag(parsed.address);
  const exact = await lookupNamed(parsed.address, rules);
  if (exact.kind !== 'unknown-user' || plain === parsed.address) return exact;
  return await lookupNamed(plain, rules);
}

async function lookupNamed(named: Address, rules: RecipientRules): Promise<RecipientAnswer> {
  const address = rules.aliases.get(named) ?? named;
  const found = await rules
    .lookup(address)
    .catch((error: unknown): Found => ({ kind: 'unknown', reason: String(error) }));
  switch (found.kind) {
    case 'found':
      if (!receiving.has(found.certificate.kind)) return { kind: 'unknown-user', reply: replies.noSuchUser };
      // Who writes from the Internet has not signed it, and is nobody of the ring. Bounces to a list come to its signed return path.
      if (rules.returns !== true) {
        const posting = found.record?.list?.posting ?? '';
        if (ringOnly.has(posting)) return { kind: 'refused', reply: replies.notToList };
        if (posting === 'members') return { kind: 'recipient', address, forMembers: true };
      }
      return { kind: 'recipient', address };
    case 'none':
      return { kind: 'unknown-user', reply: replies.noSuchUser };
    case 'revoked':
      return { kind: 'refused', reply: replies.revoked };
    default:
      return { kind: 'refused', reply: replies.lookupFailed };
  }
}
