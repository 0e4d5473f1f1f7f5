import type { Account } from '../../node/access/account.ts';
import type { IdentityCertificate } from '../../node/identity/certificate.ts';
import { publicLists } from '../../node/mail/list/public-lists.ts';
import { submitSpread } from '../../node/mail/list/spread.ts';
import { personOf } from '../../node/mail/recipient-control.ts';
import { type LocalUser, mailboxKeysOf } from '../home/users.ts';
import type { UserHome } from './user-home.ts';
import { UserQuota } from './user-quota.ts';
import { type LocalUsersParts, sendingParts } from './users-parts.ts';

/** Whose account it is, and what he is served with. */
interface Served {
  readonly user: LocalUser;
  readonly certificate: IdentityCertificate;
  readonly home: UserHome;
  readonly over: () => string | undefined;
}

/** What a user who has shown his password may do. One for a mailbox as long as it is open: what it has counted is remembered. */
export function userAccount(
  { user, certificate, home, over }: Served,
  { post, names, quotaBytes, now, trace, log }: LocalUsersParts,
): Account {
  const { mailbox, book, people } = home;
  const { ring } = post.overlay;
  const quota = new UserQuota({ mailbox, store: post.store, limitBytes: quotaBytes, now });
  const sending = { ...sendingParts({ post, names, now, trace, log }), book };
  const lists = publicLists({ store: post.store, now, log });
  return {
    address: user.address,
    mailbox,
    ringDomains: ring.domains,
    lookup: async (address) => names.resolve(address),
    over,
    ownership: async (address) => names.ownership(address, user.address),
    quota: async () => quota.figure(),
    submit: async (envelope, bytes, id) => {
      const identity = { address: user.address, certificate, keys: user.keys, mailboxKeys: mailboxKeysOf(user) };
      const submission = await submitSpread({ ...sending, user: identity, envelope, bytes, traceId: id }, lists);
      // Whom he writes to is no stranger to him.
      for (const { address, outcome } of submission.recipients)
        if (outcome.kind === 'sent')
          await people
            .meet('wrote', personOf(address))
            .catch((fault: unknown) => log.warn({ fault }, 'whom a user wrote to could not be remembered'));
      return submission;
    },
  };
}
