import type { Address } from '../../policy/address.ts';
import type { Log as PostLog } from '../log/log.ts';
import { asMailFault, MailFault } from './fault.ts';
import type { Folder } from './folder.ts';
import { folderName, isInferior, superiorNames } from './folder-name.ts';
import type { FolderShelf } from './folder-shelf.ts';
import type { HeadBackups } from './head-backups.ts';
import { LogWriter } from './log-writer.ts';
import type { Clock, Log } from './mail-post.ts';
import type { FolderAnswer, FolderInfo, Mailbox, MailboxChange, SpecialUse } from './mailbox.ts';
import { encodeMailboxRecord, type ListedFolder, type MailboxIndex, type MailboxRecord } from './mailbox-index.ts';
import type { MessageRef } from './message-ref.ts';
import type { MessageVault } from './message-vault.ts';
import { News } from './news.ts';
import { asOf, recover } from './recovery.ts';
import type { Recovery } from './recovery-report.ts';
import type { StateKeeper } from './state-keeper.ts';

// LIST answers with all of them; nobody reads more.
const maxFolders = 1_000;
const maxSubscriptions = 2_000;

const defaultUses = new Map<string, SpecialUse>([
  ['Sent', '\\Sent'],
  ['Drafts', '\\Drafts'],
  ['Junk', '\\Junk'],
  ['Trash', '\\Trash'],
]);
const defaultNames = ['INBOX', ...defaultUses.keys()];

type Options = {
  readonly address: Address;
  readonly keeper: StateKeeper<MailboxIndex>;
  readonly log: PostLog;
  readonly shelf: FolderShelf;
  readonly vault: MessageVault;
  readonly now: Clock;
  readonly events: Log;
  /** Works in the background on the folders: stopped first. */
  readonly leases: { stop(): Promise<void>; accept(ref: MessageRef): Promise<void> };
  readonly backups: HeadBackups;
  /** Called last, when everything is closed. */
  readonly release: () => Promise<void>;
};

const done: FolderAnswer = { kind: 'done' };
type Refusal = FolderAnswer & { readonly kind: 'refused' };

function refused(code: Refusal['code'], reason: string): Refusal {
  return { kind: 'refused', code, reason };
}

/** A mailbox over its root log. Changes of the folder list happen one after another. */
export class RingMailbox implements Mailbox {
  readonly address: Address;
  readonly #options: Options;
  readonly #writer: LogWriter<MailboxIndex, readonly MailboxChange[]>;
  readonly #news: News;
  readonly #listeners = new Set<(change: MailboxChange) => void>();
  #last: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(options: Options) {
    this.#options = options;
    this.address = options.address;
    const { keeper, log, events } = options;
    this.#writer = new LogWriter<MailboxIndex, readonly MailboxChange[]>(log, keeper, () => 0, {
      applied: (outcomes) => {
        keeper.changed();
        this.#news.stir();
        for (const change of outcomes.flat()) this.#tell(change);
      },
      rebuilt: (before) => {
        for (const change of changesBetween(before, this.#index)) this.#tell(change);
      },
      failed: (cause) => events.debug({ err: cause }, 'the folder list could not be looked up in the ring'),
    });
    this.#news = new News(log, () => this.#writer.look());
    this.#news.stir();
  }

  /** Another object after another history of the log went on. */
  get #index(): MailboxIndex {
    return this.#options.keeper.state;
  }

  folders(): readonly FolderInfo[] {
    const rank = (name: string): string => (name === 'INBOX' ? '' : name);
    return [...this.#index.folders.values()]
      .map(({ name, use, id }) => ({
        name,
        ...(use === null ? {} : { specialUse: use }),
        subscribed: this.#index.subscribed.has(name),
        uidValidity: id,
      }))
      .sort((a, b) => (rank(a.name) < rank(b.name) ? -1 : 1));
  }

  subscriptions(): readonly string[] {
    return [...this.#index.subscribed].sort();
  }

  async folder(name: string): Promise<Folder | undefined> {
    const wanted = folderName(name);
    const listed = wanted.kind === 'name' ? this.#index.folders.get(wanted.name) : undefined;
    return listed === undefined ? undefined : this.#options.shelf.open(listed.id, () => this.#nameOf(listed));
  }

  #nameOf(listed: ListedFolder): string {
    return this.#index.byId(listed.id)?.name ?? listed.name;
  }

  async create(name: string, use?: SpecialUse): Promise<FolderAnswer> {
    return this.#change(name, async (wanted) => {
      if (this.#index.folders.has(wanted)) return refused('exists', `${wanted} exists already`);
      const taken = use === undefined ? undefined : this.#index.byUse(use);
      if (taken !== undefined) return refused('use-taken', `${taken.name} has that special use already`);
      const missing = [...superiorNames(wanted), wanted].filter((each) => !this.#index.folders.has(each));
      return this.#create(missing, false, use === undefined ? undefined : { name: wanted, use });
    });
  }

  async remove(name: string): Promise<FolderAnswer> {
    return this.#change(name, async (wanted) => {
      const listed = this.#index.folders.get(wanted);
      if (wanted === 'INBOX') return refused('not-allowed', 'INBOX cannot be removed');
      if (listed === undefined) return refused('missing', `there is no folder ${wanted}`);
      await this.#write([{ kind: 'remove', id: listed.id, name: wanted }]);
      await this.#options.shelf.remove(listed.id, `the folder ${wanted} has been removed`);
      return done;
    });
  }

  async rename(from: string, to: string): Promise<FolderAnswer> {
    const target = folderName(to);
    if (target.kind === 'bad-name') return refused('bad-name', target.reason);
    return this.#change(from, async (wanted) => this.#rename(wanted, target.name));
  }

  async #rename(from: string, to: string): Promise<FolderAnswer> {
    const listed = this.#index.folders.get(from);
    if (listed === undefined) return refused('missing', `there is no folder ${from}`);
    if (this.#index.folders.has(to)) return refused('exists', `${to} exists already`);
    if (isInferior(to, from) && from !== 'INBOX') return refused('not-allowed', 'a folder cannot go into itself');
    if (from === 'INBOX') return this.#emptyInbox(to);
    const tooLong = [...this.#index.folders.keys()]
      .filter((name) => isInferior(name, from))
      .map((name) => folderName(to + name.slice(from.length)))
      .find((name) => name.kind === 'bad-name');
    if (tooLong !== undefined) return refused('bad-name', 'a name below it would become too long');
    const superiors = superiorNames(to).filter((each) => !this.#index.folders.has(each));
    const made = await this.#create(superiors);
    if (made.kind === 'refused') return made;
    await this.#write([{ kind: 'rename', id: listed.id, from, to }]);
    return done;
  }

  /** RFC 3501 §6.3.5: renaming INBOX moves all its messages to a new folder and leaves INBOX, and what is below it, where they are. */
  async #emptyInbox(to: string): Promise<FolderAnswer> {
    const missing = [...superiorNames(to), to].filter((each) => !this.#index.folders.has(each));
    const made = await this.#create(missing);
    if (made.kind === 'refused') return made;
    const [inbox, target] = await Promise.all([this.folder('INBOX'), this.folder(to)]);
    if (inbox === undefined || target === undefined)
      throw new MailFault('folder-gone', 'INBOX or its new folder is gone');
    await inbox.moveTo(
      target,
      inbox.entries().map(({ uid }) => uid),
    );
    return done;
  }

  async subscribe(name: string, on: boolean): Promise<FolderAnswer> {
    return this.#change(name, async (wanted) => {
      if (this.#index.subscribed.has(wanted) === on) return done;
      if (on && this.#index.subscribed.size >= maxSubscriptions)
        return refused('too-many', `at most ${maxSubscriptions} names can be subscribed to`);
      await this.#write([{ kind: 'subscribe', name: wanted, on }]);
      return done;
    });
  }

  async read(ref: MessageRef): Promise<Uint8Array> {
    return this.#options.vault.look(ref);
  }

  async keep(ref: MessageRef): Promise<void> {
    const { leases, vault } = this.#options;
    return vault.gated(ref, async () => leases.accept(ref));
  }

  async backups(): Promise<readonly number[]> {
    return this.#options.backups.list();
  }

  async keepHeads(): Promise<number> {
    return this.#options.backups.keep();
  }

  async recover(to: number, options: { readonly dryRun: boolean }): Promise<Recovery> {
    const { backups } = this.#options;
    const then = await asOf(await backups.find(to));
    // What is there now is kept first, so that this can be undone as well.
    if (!options.dryRun) await backups.keep();
    return recover(this, then, options);
  }

  onChange(listener: (change: MailboxChange) => void): () => void {
    this.#listeners.add(listener);
    const rest = this.#news.watch();
    return () => {
      if (this.#listeners.delete(listener)) rest();
    };
  }

  /** The folders that every mailbox has, as far as they were never made: those that a user removed stay away, INBOX never does. */
  async makeDefaults(): Promise<void> {
    const missing = defaultNames.filter((name) => this.#index.lastId === 0 || name === 'INBOX');
    await this.#serially(async () =>
      this.#create(
        missing.filter((name) => !this.#index.folders.has(name)),
        true,
      ),
    );
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    await this.#last.catch((error: unknown) => {
      this.#options.events.debug({ err: error }, 'the last change of the folder list failed');
    });
    this.#news.stop();
    await this.#options.backups.stop();
    await this.#options.leases.stop();
    await this.#options.shelf.close();
    this.#options.vault.close();
    await this.#writer.end(new MailFault('folder-gone', 'the mailbox is closed'));
    await this.#options.keeper.close();
    this.#listeners.clear();
    await this.#options.log.close();
    await this.#options.release();
  }

  async #change(name: string, work: (wanted: string) => Promise<FolderAnswer>): Promise<FolderAnswer> {
    const wanted = folderName(name);
    if (wanted.kind === 'bad-name') return refused('bad-name', wanted.reason);
    return this.#serially(async () => work(wanted.name));
  }

  async #serially<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#last.catch(() => undefined);
    const mine = before.then(work);
    this.#last = mine;
    try {
      return await mine;
    } catch (error) {
      throw asMailFault(error, 'the folder list could not be changed');
    }
  }

  /** Each folder's own log first: a crash before the root names it leaves a log that nobody asks for, never a name without a log. */
  async #create(
    names: readonly string[],
    subscribe = false,
    special?: { readonly name: string; readonly use: SpecialUse },
  ): Promise<FolderAnswer> {
    if (this.#index.folders.size + names.length > maxFolders)
      return refused('too-many', `a mailbox takes at most ${maxFolders} folders`);
    // RFC 3501 §2.3.1.1: a new folder of an old name needs a greater uidValidity; a clock that went back must not spoil that.
    const first = Math.max(Math.floor(this.#options.now() / 1000), this.#index.lastId + 1);
    const records = names.map((name, i) => ({
      kind: 'create' as const,
      id: first + i,
      name,
      use: special?.name === name ? special.use : this.#useFor(name),
    }));
    await Promise.all(records.map(({ id }) => this.#options.shelf.make(id)));
    const subscriptions = subscribe ? names.map((name) => ({ kind: 'subscribe' as const, name, on: true })) : [];
    await this.#write([...records, ...subscriptions]);
    return done;
  }

  #useFor(name: string): SpecialUse | null {
    const use = defaultUses.get(name);
    return use === undefined || this.#index.byUse(use) !== undefined ? null : use;
  }

  async #write(records: readonly MailboxRecord[]): Promise<void> {
    await this.#writer.write({ plan: () => records.map(encodeMailboxRecord), answer: () => undefined });
  }

  #tell(change: MailboxChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#options.events.error({ err: asMailFault(error, 'listener') }, 'a listener of the folder list failed');
      }
    }
  }
}

/** What a reader who knows `before` has to be told to know `now`. */
function changesBetween(before: MailboxIndex, now: MailboxIndex): MailboxChange[] {
  const changes: MailboxChange[] = [];
  for (const { id, name } of before.folders.values()) {
    const to = now.byId(id)?.name;
    if (to === undefined) changes.push({ kind: 'removed', name });
    else if (to !== name) changes.push({ kind: 'renamed', name, to });
  }
  for (const { id, name } of now.folders.values())
    if (before.byId(id) === undefined) changes.push({ kind: 'created', name });
  for (const name of now.subscribed) if (!before.subscribed.has(name)) changes.push({ kind: 'subscribed', name });
  for (const name of before.subscribed) if (!now.subscribed.has(name)) changes.push({ kind: 'unsubscribed', name });
  return changes;
}
