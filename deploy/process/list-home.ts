import path from 'node:path';
import type { IdentityCertificate } from '../../node/identity/certificate.ts';
import { ListHome } from '../../node/mail/list/list-home.ts';
import { ListLog } from '../../node/mail/list/list-log.ts';
import type { ListChange, ListState } from '../../node/mail/list/list-state.ts';
import { leaseMs } from '../../node/mail/mail-post.ts';
import { followReturns } from '../../node/mail/returns.ts';
import { SentBook } from '../../node/mail/sent-book.ts';
import { localRecipient } from '../../node/notify/local-recipient.ts';
import type { LocalList } from '../home/lists.ts';
import { Closing } from './closing.ts';
import { publishRecord } from './publish-record.ts';
import { type LocalUsersParts, sendingParts } from './users-parts.ts';

/** A list that is expanded here. */
export interface OpenList {
  readonly state: () => ListState;
  /** In the ring, and told to it, when it resolves. Throws MailFault, LogFault. */
  readonly change: (changes: readonly ListChange[]) => Promise<void>;
  /** Tells the ring where it is and who may write to it, and keeps its log alive. */
  readonly refresh: () => Promise<void>;
  readonly close: () => Promise<void>;
}

// As many keys in one question as mailboxes ask for.
const keysAtOnce = 500;

/** Opens a list and begins to take what comes to it. When a part cannot be opened, those before it are closed again and its fault is thrown. */
export async function openList(
  local: LocalList,
  certificate: IdentityCertificate,
  parts: LocalUsersParts,
): Promise<OpenList> {
  const closing = new Closing();
  try {
    return await opened(local, certificate, parts, closing);
  } catch (fault) {
    await closing.close();
    throw fault;
  }
}

async function opened(
  local: LocalList,
  certificate: IdentityCertificate,
  { post, names, layout, hostname, seen, trust, now, trace, log }: LocalUsersParts,
  closing: Closing,
): Promise<OpenList> {
  const { address, keys, made } = local;
  const user = { address, certificate, keys };
  const members = await ListLog.open({ post, list: user, visibility: made.members, create: local.log === 'new' });
  closing.add(() => members.close());
  // It was made just now, or the process died before this was written.
  if (members.state.owners.length === 0)
    await members.change([{ kind: 'settings', posting: made.posting, owners: made.owners }]);
  const book = await SentBook.open(path.join(layout.node.folder, 'sent', encodeURIComponent(address), 'book'), now());
  closing.add(() => book.close());
  const publish = async (): Promise<void> => {
    const { posting, owners } = members.state;
    await publishRecord({
      store: post.store,
      peerId: post.overlay.self.peerId,
      address,
      certificate: local.certificate,
      signing: keys.signing,
      now: now(),
      list: { posting, owners, members: made.members },
    });
  };
  const change = async (changes: readonly ListChange[]): Promise<void> => {
    await members.change(changes);
    if (changes.some(({ kind }) => kind === 'settings')) await publish();
  };
  const home = new ListHome({
    ...sendingParts({ post, names, now, trace, log }),
    user,
    book,
    state: () => members.state,
    change,
    names,
    custody: { trust },
    hostname,
  });
  closing.add(
    await followReturns({
      notify: post.notify,
      book,
      deliver: async (notice, _id, note) => home.tellOwners(notice, note.traceId),
      author: address,
      reportingMta: hostname,
      trace,
      now,
      log,
    }),
  );
  const accept = localRecipient({ keys, certificate, trust, seen, now, handle: (one) => home.take(one) });
  closing.add(post.notify.attach({ certificate, accept }));
  const renew = async (): Promise<void> => {
    const lease = { identity: address, until: now() + leaseMs };
    let waiting: Uint8Array[] = [];
    for await (const key of members.blocks()) {
      waiting.push(key);
      if (waiting.length < keysAtOnce) continue;
      await post.store.renew(waiting, lease);
      waiting = [];
    }
    if (waiting.length > 0) await post.store.renew(waiting, lease);
  };
  return {
    state: () => members.state,
    change,
    refresh: async () => {
      await publish();
      await renew();
    },
    close: () => closing.close(),
  };
}
