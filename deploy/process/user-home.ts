import { existsSync } from 'node:fs';
import path from 'node:path';
import { Outliner } from '../../node/access/outliner.ts';
import type { IdentityCertificate } from '../../node/identity/certificate.ts';
import { deliverTo, type VouchedFor } from '../../node/mail/delivery.ts';
import { forwarder } from '../../node/mail/forward/forwarder.ts';
import { ForwardBook } from '../../node/mail/forward/instruction.ts';
import type { Mailbox } from '../../node/mail/mailbox.ts';
import { openMailbox } from '../../node/mail/open-mailbox.ts';
import { RecipientBook } from '../../node/mail/recipient-book.ts';
import { recipientControl } from '../../node/mail/recipient-control.ts';
import { followReturns, giveBack, noticesOf } from '../../node/mail/returns.ts';
import { SentBook } from '../../node/mail/sent-book.ts';
import { localRecipient } from '../../node/notify/local-recipient.ts';
import { retiredKeys } from '../home/user-keys.ts';
import { type LocalUser, mailboxKeysOf } from '../home/users.ts';
import { Closing } from './closing.ts';
import { KeptLimits } from './kept-limits.ts';
import type { RecipientPolicy } from './recipient-policy.ts';
import { type LocalUsersParts, sendingParts } from './users-parts.ts';

/** A mailbox that is served: its mail comes in, and its user hears how what he sent ended. */
export interface UserHome {
  readonly mailbox: Mailbox;
  readonly book: SentBook;
  readonly people: RecipientBook;
  readonly forward: ForwardBook;
  readonly close: () => Promise<void>;
}

// One user's rules limit by sender or by ring; more of them than this he does not hear from in an hour.
const maxRecipientBuckets = 2_000;

/** Opens a user's mailbox and begins to take his mail. When a part cannot be opened, those before it are closed again and its fault is thrown. */
export async function openUserHome(
  { user, certificate, policy }: { user: LocalUser; certificate: IdentityCertificate; policy: RecipientPolicy },
  parts: LocalUsersParts,
): Promise<UserHome> {
  const closing = new Closing();
  try {
    return await opened(user, certificate, policy, parts, closing);
  } catch (fault) {
    await closing.close();
    throw fault;
  }
}

async function opened(
  user: LocalUser,
  certificate: IdentityCertificate,
  policy: RecipientPolicy,
  { post, names, layout, hostname, seen, trust, now, trace, log }: LocalUsersParts,
  closing: Closing,
): Promise<UserHome> {
  const identity = { address: user.address, certificate, keys: user.keys, mailboxKeys: mailboxKeysOf(user) };
  const mailbox = await openMailbox({
    post,
    user: identity,
    dir: path.join(layout.node.folder, 'mail'),
    create: user.login.mailbox === 'new',
    now,
    log,
  });
  closing.add(() => mailbox.close());
  const outliner = new Outliner({ mailbox, now, log });
  closing.add(() => outliner.stop());
  // The last part has no dot: lmdb takes a path with one for a file.
  const book = await SentBook.open(
    path.join(layout.node.folder, 'sent', encodeURIComponent(user.address), 'book'),
    now(),
  );
  closing.add(() => book.close());
  const forward = await ForwardBook.open(post, identity);
  closing.add(() => forward.close());
  const sending = { ...sendingParts({ post, names, now, trace, log }), user: identity, book };
  const returns = followReturns({
    notify: post.notify,
    book,
    deliver: noticesOf(mailbox, sending),
    giveBack: async (note) => giveBack(mailbox, note),
    author: user.address,
    reportingMta: hostname,
    trace,
    now,
    log,
  });
  closing.add(await returns);
  const folder = path.join(layout.node.folder, 'people', encodeURIComponent(user.address));
  const people = await RecipientBook.open(path.join(folder, 'book'), now);
  closing.add(() => people.close());
  const kept = new KeptLimits({
    folder: path.join(folder, 'limits'),
    now,
    maxBuckets: maxRecipientBuckets,
    onFault: (fault) =>
      log.error({ user: user.address, fault }, 'the limits of a user’s policy cannot be written down'),
  });
  closing.add(() => kept.stop());
  const control = recipientControl({
    recipient: user.address,
    policy: () => policy.current,
    limits: kept.limits,
    book: people,
    ring: post.overlay.ring,
    standing: ({ kind, address, ring }) =>
      // What is of the ring itself must still be able to tell its users something.
      kind === 'gateway' || kind === 'service' ? 'good' : trust().revocations.standingOf(address, ring),
    trace,
    now,
  });
  const handle = deliverTo(mailbox, {
    names,
    control,
    custody: { store: post.store, trust, now },
    forwarder: forwarder(sending, () => forward.current),
    // For `epost trace --verify`. A gateway's own home has its record already.
    kept: existsSync(layout.gateway.certificate)
      ? undefined
      : (what) => trace(what.trace, { what: 'kept', recipient: user.address, ...inBase64(what) }),
  });
  const retired = retiredKeys(user.earlier, trust());
  const accept = localRecipient({ keys: user.keys, certificate, retired, trust, seen, now, handle });
  closing.add(post.notify.attach({ certificate, retired: retired.map((one) => one.certificate), accept }));
  outliner.start();
  return { mailbox, book, people, forward, close: () => closing.close() };
}

function inBase64({ provenance, certificate }: VouchedFor): {
  readonly provenance: string;
  readonly certificate: string;
} {
  return {
    provenance: Buffer.from(provenance).toString('base64'),
    certificate: Buffer.from(certificate).toString('base64'),
  };
}
