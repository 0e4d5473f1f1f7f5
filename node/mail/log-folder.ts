import { randomBytes } from 'node:crypto';
import type { Log as PostLog } from '../log/log.ts';
import { EarlyFlags } from './early-flags.ts';
import { asMailFault, MailFault } from './fault.ts';
import { canonicalFlags, changedFlags, type FlagMode } from './flags.ts';
import type { Delivery, EarlyChange, Folder, FolderChange, MessageEntry } from './folder.ts';
import { changesBetween, changesOf } from './folder-changes.ts';
import { FolderIndex, type FolderOutcome } from './folder-index.ts';
import { encodeFolderRecord, takesUid } from './folder-record.ts';
import { decodeFolderIndex, encodeFolderIndex } from './folder-snapshot.ts';
import { gapNotice } from './gap-notice.ts';
import type { IndexEntry } from './index-entry.ts';
import { LogWriter } from './log-writer.ts';
import type { Clock, Log } from './mail-post.ts';
import { encodeMessageRef, type MessageRef } from './message-ref.ts';
import type { Found } from './message-texts.ts';
import type { MessageVault } from './message-vault.ts';
import { News } from './news.ts';
import { type Runs, splitRuns, toRuns } from './runs.ts';
import type { StateForm, StateKeeper } from './state-keeper.ts';
import type { TextColumn, Texts, Wanted } from './text-columns.ts';

export const folderForm: StateForm<FolderIndex> = {
  fresh: () => new FolderIndex(),
  encode: encodeFolderIndex,
  decode: decodeFolderIndex,
  weight: (index) => index.length,
  whole: (index) => index.lost === 0,
};

// About 5 KiB: a record has to fit into a log's head beside others.
const maxRunsPerRecord = 250;
// 2^32 - 1 (RFC 3501 §9 nz-number); a folder that has given them all takes no more.
const maxUid = 0xffff_fffe;

type Options = {
  readonly keeper: StateKeeper<FolderIndex>;
  readonly log: PostLog;
  readonly name: () => string;
  readonly vault: MessageVault;
  readonly now: Clock;
  readonly events: Log;
};

type Insertion = {
  readonly ref: MessageRef;
  readonly flags: readonly string[];
  readonly internalDate: number;
  readonly delivery?: Delivery;
};
/** With its name, which stays the same when it has to be planned again. */
type Numbered = Insertion & { readonly serial: number };

function only(outcomes: readonly FolderOutcome[], kind: 'flags' | 'expunged'): readonly number[] {
  return outcomes.flatMap((outcome) => (outcome.kind === kind ? outcome.uids : []));
}

/** A folder over its log: records are written by one writer, the index follows them (DESIGN §9). */
export class LogFolder implements Folder {
  readonly #options: Options;
  readonly #writer: LogWriter<FolderIndex, FolderOutcome>;
  readonly #news: News;
  readonly #listeners = new Set<(change: FolderChange) => void>();
  // Another one each time, so that a restored backup of this node does not give a name a second time. 48 bits: safe as a number.
  readonly #origin = randomBytes(6).readUIntBE(0, 6);
  #serial = 0;
  /** Messages whose flags change in the head being planned. */
  readonly #flagged = new Set<number>();
  readonly #early = new EarlyFlags();

  constructor(options: Options) {
    this.#options = options;
    const { keeper, log, events } = options;
    this.#writer = new LogWriter<FolderIndex, FolderOutcome>(log, keeper, takesUid, {
      applied: (outcomes) => {
        this.#tell(changesOf(outcomes));
        keeper.changed();
        this.#news.stir();
      },
      rebuilt: (before) => this.#tell(changesBetween(before, this.#index)),
      failed: (cause) => events.debug({ folder: this.name, err: cause }, 'a folder could not be looked up in the ring'),
    });
    this.#news = new News(log, () => this.#writer.look());
    this.#news.stir();
  }

  /** Another object after another history of the log went on. */
  get #index(): FolderIndex {
    return this.#options.keeper.state;
  }

  get name(): string {
    return this.#options.name();
  }

  get logName(): string {
    return this.#options.log.name;
  }

  /** Version of the newest head of its log that is known here. */
  get logVersion(): number {
    return this.#options.log.version;
  }

  get uidValidity(): number {
    return this.#index.uidValidity;
  }

  get uidNext(): number {
    return this.#index.uidNext;
  }

  get highestModseq(): number {
    return this.#index.highestModseq;
  }

  expungedSince(modseq: number): readonly { readonly from: number; readonly to: number }[] | undefined {
    return this.#index.gone.since(modseq);
  }

  get unseen(): number {
    return this.#index.pool.unseen;
  }

  entries(): readonly MessageEntry[] {
    return this.#index.entries();
  }

  entry(uid: number): MessageEntry | undefined {
    return this.#index.entry(uid);
  }

  flagLists(): readonly (readonly string[])[] {
    return this.#index.pool.sets().map(({ flags }) => flags);
  }

  keywords(): readonly string[] {
    return this.#index.pool.keywords();
  }

  async append(
    bytes: Uint8Array,
    options: { readonly flags: readonly string[]; readonly internalDate: number },
  ): Promise<{ uid: number }> {
    // Before the message is stored: a wrong flag costs nothing then.
    canonicalFlags(options.flags, this.#index.pool);
    const ref = await this.#options.vault.store(bytes);
    const [uid] = await this.#insert([{ ref, ...options }]);
    return { uid: uid?.uid ?? 0 };
  }

  async appendOnce(
    bytes: Uint8Array,
    options: { readonly id: Uint8Array; readonly flags?: readonly string[]; readonly internalDate: number },
  ): Promise<void> {
    const ref = await this.#options.vault.store(bytes);
    await this.insertRef({ ...options, ref, envelopeFrom: '', trace: '' });
  }

  async insertRef(delivery: Delivery): Promise<{ kind: 'inserted' | 'known'; uid: number | undefined }> {
    if (delivery.id.length !== 32) throw new MailFault('damaged', 'a notification id has 32 octets');
    const { ref, internalDate, flags = [] } = delivery;
    const [outcome] = await this.#insert([{ ref, flags, internalDate, delivery }]);
    const uid = outcome?.uid ?? 0;
    return { kind: outcome?.kind ?? 'known', uid: this.#index.entry(uid) === undefined ? undefined : uid };
  }

  async setFlags(uids: readonly number[], mode: FlagMode, flags: readonly string[]): Promise<readonly MessageEntry[]> {
    return (await this.setFlagsIfUnchanged(uids, mode, flags, Number.MAX_SAFE_INTEGER)).entries;
  }

  async setFlagsIfUnchanged(
    uids: readonly number[],
    mode: FlagMode,
    flags: readonly string[],
    unchangedSince: number,
  ): Promise<{ readonly entries: readonly MessageEntry[]; readonly modified: readonly number[] }> {
    const modified = new Set<number>();
    const answer = await this.#writer.write({
      plan: (earlier) => {
        const canonical = canonicalFlags(flags, this.#index.pool);
        // Changes that go into the same head are not in the index yet, and come before this one.
        if (earlier === 0) this.#flagged.clear();
        modified.clear();
        for (const { uid, modseq } of this.#index.existing(uids)) {
          const soon = unchangedSince < Number.MAX_SAFE_INTEGER && this.#flagged.has(uid);
          if (modseq > unchangedSince || soon) modified.add(uid);
          else this.#flagged.add(uid);
        }
        const entries = this.#index.existing(uids.filter((uid) => !modified.has(uid)));
        // After all that is known here, though the clock should say less: in one history the order is the writer's.
        const at = Math.max(this.#options.now(), this.#index.clock.latest + 1);
        // What changes nothing is not written; with changes before it in the same head nobody can say, so it is.
        const idle = earlier === 0 && !entries.some(({ set }) => differs(set.flags, mode, canonical));
        return idle ? [] : this.#perRun(entries, (runs) => ({ kind: 'flags', mode, flags: canonical, runs, at }));
      },
      answer: () => ({
        entries: this.#index.existing(uids.filter((uid) => !modified.has(uid))),
        modified: [...modified].sort((a, b) => a - b),
      }),
    });
    this.#early.trust();
    return answer;
  }

  setFlagsEarly(
    uids: readonly number[],
    mode: FlagMode,
    flags: readonly string[],
    maxDelayMs: number,
  ): EarlyChange | undefined {
    const time = { now: this.#options.now(), maxDelayMs };
    return this.#early.begin(this.#index, { uids, mode, flags }, time, async () => this.setFlags(uids, mode, flags));
  }

  get unwritten(): number {
    return this.#early.unwritten;
  }

  async settled(): Promise<void> {
    await this.#early.settled();
  }

  async expunge(uids: readonly number[]): Promise<readonly number[]> {
    return this.#writer.write({
      plan: () => this.#perRun(this.#index.existing(uids), (runs) => ({ kind: 'expunge', runs })),
      answer: (outcomes) => only(outcomes, 'expunged'),
    });
  }

  async copyTo(target: Folder, uids: readonly number[]): Promise<{ from: readonly number[]; to: readonly number[] }> {
    if (!(target instanceof LogFolder)) throw new TypeError('a copy goes to a folder of the same mailbox');
    const entries = this.#index.existing(uids).filter(({ uid }) => !this.#index.gaps.has(uid));
    const insertions = entries.map(({ ref, flags, internalDate }) => ({ ref, flags, internalDate }));
    const copied = await target.#insert(insertions);
    return { from: entries.map(({ uid }) => uid), to: copied.map(({ uid }) => uid) };
  }

  async moveTo(target: Folder, uids: readonly number[]): Promise<{ from: readonly number[]; to: readonly number[] }> {
    const copied = await this.copyTo(target, uids);
    await this.expunge(copied.from);
    return copied;
  }

  async bytes(uid: number): Promise<Uint8Array> {
    const entry = this.#index.entry(uid);
    if (this.#index.gaps.has(uid)) return gapNotice;
    if (entry === undefined) throw new MailFault('no-such-message', `no message ${uid} in ${this.name}`);
    return this.#options.vault.fetch(entry.ref);
  }

  bytesAtHand(uid: number): Uint8Array | undefined {
    const entry = this.#index.gaps.has(uid) ? undefined : this.#index.entry(uid);
    return entry === undefined ? undefined : this.#options.vault.atHand(entry.ref);
  }

  delivered(id: Uint8Array): number | undefined {
    const uid = this.#index.knownDelivery(id)?.uid;
    return uid === undefined ? undefined : this.#index.entry(uid)?.uid;
  }

  summary(uid: number): Buffer | undefined {
    const entry = this.#index.entry(uid);
    return entry === undefined ? undefined : this.#options.vault.summaries.get(entry.emailId);
  }

  keepSummary(uid: number, summary: Uint8Array): void {
    const entry = this.#index.entry(uid);
    if (entry !== undefined) this.#options.vault.summaries.put(entry.emailId, summary);
  }

  hasTexts(uid: number): boolean {
    const entry = this.#index.entry(uid);
    return entry !== undefined && this.#options.vault.summaries.texts.has(entry.contentKey);
  }

  keepTexts(uid: number, texts: Texts): void {
    const entry = this.#index.entry(uid);
    if (entry !== undefined) this.#options.vault.summaries.texts.put(entry.contentKey, texts);
  }

  async findTexts(column: TextColumn, wanted: Wanted): Promise<Found> {
    return this.#options.vault.summaries.texts.find(column, wanted);
  }

  onChange(listener: (change: FolderChange) => void): () => void {
    this.#listeners.add(listener);
    const rest = this.#news.watch();
    return () => {
      if (this.#listeners.delete(listener)) rest();
    };
  }

  /** Sees soon what other nodes of the user have written since the last look, where that is some time ago. */
  glance(): void {
    this.#news.glance();
  }

  async refresh(): Promise<void> {
    await this.#writer.catchUp();
  }

  /** Finishes what is under way, keeps the index for the next start, and takes no more changes. */
  async close(reason: string): Promise<void> {
    this.#news.stop();
    await this.#writer.end(new MailFault('folder-gone', reason));
    await this.#options.keeper.close();
    this.#listeners.clear();
    await this.#options.log.close();
  }

  async #insert(wanted: readonly Insertion[]): Promise<readonly { kind: 'inserted' | 'known'; uid: number }[]> {
    const insertions = wanted.map((insertion) => ({ ...insertion, serial: ++this.#serial }));
    return this.#writer.write({
      plan: (earlier) => {
        if (this.#index.uidNext + earlier + insertions.length > maxUid)
          throw new MailFault('too-large', 'the folder has given out all its uids');
        const known = insertions.length === 1 ? this.#knownDelivery(insertions[0]) : undefined;
        return known === undefined ? insertions.map((insertion) => this.#record(insertion)) : [];
      },
      answer: (outcomes) => {
        const known = outcomes.length === 0 ? this.#knownDelivery(insertions[0]) : undefined;
        if (known !== undefined) return [{ kind: 'known' as const, uid: known }];
        return outcomes.flatMap((outcome) =>
          outcome.kind === 'inserted' || outcome.kind === 'known' ? [outcome] : [],
        );
      },
    });
  }

  #knownDelivery(insertion: Insertion | undefined): number | undefined {
    const id = insertion?.delivery?.id;
    return id === undefined ? undefined : this.#index.knownDelivery(id)?.uid;
  }

  #record({ ref, flags, internalDate, delivery, serial }: Numbered): Uint8Array {
    const { now } = this.#options;
    return encodeFolderRecord({
      kind: 'insert',
      flags: canonicalFlags(flags, this.#index.pool),
      internalDate: Math.max(0, Math.trunc(internalDate)),
      ref: encodeMessageRef(ref),
      at: now(),
      delivery,
      origin: this.#origin,
      serial,
    });
  }

  #perRun(
    entries: readonly IndexEntry[],
    record: (runs: Runs) => Parameters<typeof encodeFolderRecord>[0],
  ): readonly Uint8Array[] {
    return splitRuns(toRuns(entries), maxRunsPerRecord).map((piece) => encodeFolderRecord(record(piece)));
  }

  #tell(changes: readonly FolderChange[]): void {
    for (const change of changes) {
      for (const listener of this.#listeners) {
        try {
          listener(change);
        } catch (error) {
          this.#options.events.error({ folder: this.name, err: asMailFault(error, 'listener') }, 'a listener failed');
        }
      }
    }
  }
}

function differs(current: readonly string[], mode: FlagMode, flags: readonly string[]): boolean {
  const next = changedFlags(current, mode, flags);
  return next.length !== current.length || next.some((flag, i) => flag !== current[i]);
}
