import path from 'node:path';
import type { Address } from '../../policy/address.ts';
import { deriveKey } from '../identity/derive.ts';
import { readHead } from '../log/following.ts';
import type { Log as PostLog } from '../log/log.ts';
import type { Takes } from '../log/place.ts';
import type { LogName } from '../post/post.ts';
import { asMailFault } from './fault.ts';
import { takesUid } from './folder-record.ts';
import { FolderShelf, folderLogName } from './folder-shelf.ts';
import { HeadBackups } from './head-backups.ts';
import { IndexCache } from './index-cache.ts';
import { type KeptLog, LeaseKeeper } from './lease-keeper.ts';
import { type Clock, type Log, type MailPost, type MailUser, mailboxKeys } from './mail-post.ts';
import type { Mailbox } from './mailbox.ts';
import { decodeMailboxIndex, encodeMailboxIndex, MailboxIndex } from './mailbox-index.ts';
import { sha256 } from './manifest.ts';
import type { MessageRef } from './message-ref.ts';
import { MessageVault } from './message-vault.ts';
import { RingMailbox } from './ring-mailbox.ts';
import { type StateForm, StateKeeper } from './state-keeper.ts';
import { Summaries } from './summaries.ts';

export interface MailboxOptions {
  readonly post: MailPost;
  readonly user: MailUser;
  /** Where the index is kept, under a name of this mailbox's own; may be deleted while the mailbox is closed. */
  readonly dir: string;
  /** Only for a user who never had a mailbox: a root log that cannot be found is never silently made anew. */
  readonly create: boolean;
  readonly now: Clock;
  readonly log: Log;
}

const rootForm: StateForm<MailboxIndex> = {
  fresh: () => new MailboxIndex(),
  encode: encodeMailboxIndex,
  decode: decodeMailboxIndex,
  weight: (index) => index.folders.size,
  whole: (index) => index.lost === 0,
};

// An address may hold characters that a file name may not.
function indexName(address: Address): string {
  return `index-${Buffer.from(sha256(Buffer.from(address)))
    .toString('hex')
    .slice(0, 32)}`;
}

/**
 * Opens a user's mailbox: the folder list at once, each folder when it is asked for. Throws MailFault `missing` (the ring answers that there
 * is none), `unavailable` (too little of the ring answers to be sure), `damaged`.
 */
export async function openMailbox(options: MailboxOptions): Promise<Mailbox> {
  const { post, user, dir, create, now, log: events } = options;
  const keys = mailboxKeys(user);
  const { signing } = keys;
  const secret = deriveKey(keys.export(), 'mail/mailbox');
  const named = (name: string): LogName => ({
    signing,
    secret: deriveKey(secret, 'mail/log', Buffer.from(name)),
    name,
  });
  const openLog = async (name: string, fresh: boolean, takes?: Takes): Promise<PostLog> =>
    post.openLog({ ...named(name), owner: user.address, create: fresh, takes });
  const cache = await IndexCache.open(path.join(dir, indexName(user.address)));
  let mailbox: RingMailbox | undefined;
  let versions: (() => AsyncIterable<LogVersion>) | undefined;
  const refs = (): AsyncIterable<MessageRef> => (mailbox === undefined ? nothing() : refsIn(mailbox));
  async function* logs(): AsyncIterable<KeptLog> {
    for await (const { name, version } of versions?.() ?? nothing<LogVersion>())
      yield { name, version, references: async () => post.logReferences(named(name)) };
  }
  const leases = new LeaseKeeper({ store: post.store, cache, user, refs, logs, now, log: events });
  const summaries = await Summaries.open(
    path.join(dir, indexName(user.address), 'summaries'),
    deriveKey(secret, 'mail/summaries'),
    events,
  );
  const release = async (): Promise<void> => {
    await summaries.close();
    await cache.close();
  };
  try {
    const log = await openLog('mailbox', create);
    const keeper = await StateKeeper.open({ name: 'mailbox', log, cache, form: rootForm, events });
    const vault = new MessageVault({ post, address: user.address, secret, summaries, now, log: events });
    const shelf = new FolderShelf({ openLog, cache, vault, now, events });
    const backups = new HeadBackups({
      post,
      owner: user.address,
      salt: deriveKey(secret, 'mail/backups'),
      cache,
      openLog: async () => openLog('backups', true),
      logs: () => ['mailbox', ...keeper.state.folders.values().map(({ id }) => folderLogName(id))],
      heads: async (name) => post.logHeads(named(name)),
      readHead: (name, head) => readHead(post.store, { ...named(name), writer: signing.public }, head, takesUid),
      now,
      log: events,
    });
    versions = () => versionsOf(log, shelf, keeper.state, backups);
    mailbox = new RingMailbox({
      address: user.address,
      keeper,
      log,
      shelf,
      vault,
      now,
      events,
      leases,
      backups,
      release,
    });
    await mailbox.makeDefaults();
    leases.start();
    backups.start();
    return mailbox;
  } catch (error) {
    await (mailbox === undefined ? release() : mailbox.close());
    throw asMailFault(error, `the mailbox of ${user.address} could not be opened`);
  }
}

async function* nothing<T>(): AsyncIterable<T> {}

type LogVersion = { readonly name: string; readonly version: () => number };

/** The log of the folder list, that of every folder in it, and that of the backups. */
async function* versionsOf(
  root: PostLog,
  shelf: FolderShelf,
  index: MailboxIndex,
  backups: HeadBackups,
): AsyncIterable<LogVersion> {
  yield { name: root.name, version: () => root.version };
  for await (const log of backups.log()) yield { name: log.name, version: () => log.version };
  for (const { id, name } of index.folders.values().toArray()) {
    const folder = await shelf.open(id, () => index.byId(id)?.name ?? name);
    yield { name: folder.logName, version: () => folder.logVersion };
  }
}

/** All messages of a mailbox, folder by folder. */
async function* refsIn(mailbox: Mailbox): AsyncIterable<MessageRef> {
  for (const { name } of mailbox.folders()) {
    const folder = await mailbox.folder(name);
    for (const entry of folder?.entries() ?? []) yield entry.ref;
  }
}
