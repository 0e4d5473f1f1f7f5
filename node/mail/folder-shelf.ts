import type { Log as PostLog } from '../log/log.ts';
import type { Takes } from '../log/place.ts';
import { asMailFault, MailFault } from './fault.ts';
import { encodeFolderRecord, takesUid } from './folder-record.ts';
import type { IndexCache } from './index-cache.ts';
import { folderForm, LogFolder } from './log-folder.ts';
import type { Clock, Log } from './mail-post.ts';
import type { MessageVault } from './message-vault.ts';
import { StateKeeper } from './state-keeper.ts';

type Options = {
  /** Opens or makes the log of this name for the mailbox's owner. */
  readonly openLog: (name: string, create: boolean, takes: Takes) => Promise<PostLog>;
  readonly cache: IndexCache;
  readonly vault: MessageVault;
  readonly now: Clock;
  readonly events: Log;
};

/** The name of the log of the folder with this id. */
export function folderLogName(id: number): string {
  return `folder/${id}`;
}

/** The open folders of one mailbox: each is loaded when first asked for, once, and stays until the mailbox closes. */
export class FolderShelf {
  readonly #options: Options;
  readonly #open = new Map<number, Promise<LogFolder>>();
  #closed = false;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Makes the log of a new folder. Its first record says what it is, so that it has a head and can never be missing silently. */
  async make(id: number): Promise<void> {
    const log = await this.#options.openLog(folderLogName(id), true, takesUid);
    try {
      if (log.length === 0) await log.append([encodeFolderRecord({ kind: 'born', uidValidity: id })]);
    } finally {
      await log.close();
    }
  }

  async open(id: number, name: () => string): Promise<LogFolder> {
    if (this.#closed) throw new MailFault('folder-gone', 'the mailbox is closed');
    const opening = this.#open.get(id) ?? this.#load(id, name);
    this.#open.set(id, opening);
    try {
      const folder = await opening;
      folder.glance();
      if (folder.unwritten > 0) await folder.settled();
      return folder;
    } catch (error) {
      // The next caller tries again.
      if (this.#open.get(id) === opening) this.#open.delete(id);
      throw asMailFault(error, `the folder ${name()} could not be opened`);
    }
  }

  async #load(id: number, name: () => string): Promise<LogFolder> {
    const { openLog, cache, vault, now, events } = this.#options;
    const log = await openLog(folderLogName(id), false, takesUid);
    try {
      const keeper = await StateKeeper.open({ name: folderLogName(id), log, cache, form: folderForm, events });
      return new LogFolder({ keeper, log, name, vault, now, events });
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  /** Ends the use of a removed folder. */
  async remove(id: number, reason: string): Promise<void> {
    const open = this.#open.get(id);
    this.#open.delete(id);
    if (open !== undefined) await this.#end(open, reason);
    await this.#options.cache.forget(folderLogName(id));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#open.values()].map(async (open) => this.#end(open, 'the mailbox is closed')));
    this.#open.clear();
  }

  async #end(open: Promise<LogFolder>, reason: string): Promise<void> {
    try {
      await (await open).close(reason);
    } catch (error) {
      this.#options.events.warn(
        { err: error },
        'a folder was not closed cleanly; its index is rebuilt at the next start',
      );
    }
  }
}
