import { setTimeout as sleep } from 'node:timers/promises';
import { MailFault } from '../mail/fault.ts';
import type { Folder, MessageEntry } from '../mail/folder.ts';
import type { Mailbox } from '../mail/mailbox.ts';
import { decodeOutline, outlinedBytes, outlineOf } from './imap/message/outline.ts';
import { keepOutline } from './kept-outline.ts';
import type { Clock, Log } from './log.ts';

export interface OutlinerOptions {
  readonly mailbox: Pick<Mailbox, 'folders' | 'folder' | 'read'>;
  readonly now: Clock;
  readonly log: Log;
  readonly limits?: OutlinerLimits;
}

export interface OutlinerLimits {
  /** Whoever logs in first after a start comes first. */
  readonly firstMs: number;
  /** How long after a pass the next one looks for what has come since. */
  readonly betweenMs: number;
  /** It works so long, and rests three times as long. */
  readonly workMs: number;
  /** Of one mailbox, the newest: what the file of summaries holds, see node/mail/summaries.ts. */
  readonly maxMessages: number;
  /** Read in a day: messages that lie on other machines come over the network. */
  readonly maxBytesADay: number;
}

export const outlinerLimits: OutlinerLimits = {
  firstMs: 30_000,
  betweenMs: 300_000,
  workMs: 20,
  maxMessages: 250_000,
  maxBytesADay: 2 * 2 ** 30,
};

const dayMs = 86_400_000;
const restShare = 3;

/**
 * Makes the outlines of a mailbox's messages (imap/message/outline.ts) before anyone asks for them, so that lists and searches in headers find them: the newest
 * first, folder by folder, at a quarter of one core at most. What is made stays, so a pass that was ended goes on where it was; deleted outlines are made
 * anew. Large messages, and such as cannot be had now, are left to their reader.
 */
export class Outliner {
  readonly #options: OutlinerOptions;
  readonly #limits: OutlinerLimits;
  readonly #stop = new AbortController();
  /** How far each folder was looked through to its end. */
  readonly #seen = new Map<number, number>();
  #day = { began: Number.NEGATIVE_INFINITY, bytes: 0 };
  #turnBegan = 0;
  #running: Promise<void> | undefined;

  constructor(options: OutlinerOptions) {
    this.#options = options;
    this.#limits = options.limits ?? outlinerLimits;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Waits for the message that is being read. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    await this.#pause(this.#limits.firstMs);
    while (!this.#stop.signal.aborted) {
      try {
        const made = await this.pass();
        if (made > 0) this.#options.log.debug({ made }, 'messages were outlined for lists and searches');
      } catch (fault) {
        this.#options.log.debug({ fault }, 'outlining messages ended early; it goes on later');
      }
      await this.#pause(this.#limits.betweenMs);
    }
  }

  /** Looks once through what has come since the last pass; how many outlines it made. */
  async pass(): Promise<number> {
    const { mailbox, now } = this.#options;
    let left = this.#limits.maxMessages;
    let made = 0;
    this.#turnBegan = now();
    for (const { name, uidValidity } of mailbox.folders()) {
      const folder = await mailbox.folder(name);
      if (folder === undefined) continue;
      const { uidNext } = folder;
      const from = this.#seen.get(uidValidity) ?? 0;
      let whole = true;
      const entries = folder.entries();
      for (let at = entries.length - 1; at >= 0 && left > 0; at--, left--) {
        const entry = entries[at];
        if (entry === undefined || entry.uid < from) break;
        await this.#rest();
        if (this.#stop.signal.aborted) return made;
        const outcome = await this.#outline(folder, entry);
        if (outcome === 'made') made += 1;
        if (outcome === 'later') whole = false;
      }
      if (whole) this.#seen.set(uidValidity, uidNext);
    }
    return made;
  }

  async #outline(folder: Folder, { uid, ref, size }: MessageEntry): Promise<'made' | 'none' | 'later'> {
    const kept = folder.summary(uid);
    if (kept !== undefined && folder.hasTexts(uid)) return 'none';
    const outline = decodeOutline(kept);
    if (outline !== undefined) {
      keepOutline(folder, uid, outline);
      return 'none';
    }
    if (size > outlinedBytes) return 'none';
    if (!this.#mayRead(size)) return 'later';
    try {
      const bytes = Buffer.from(await this.#options.mailbox.read(ref));
      keepOutline(folder, uid, outlineOf(bytes));
      return 'made';
    } catch (error) {
      // Lost, damaged or not to be had now: its reader is told, and it is tried again after the next start, or pass.
      if (error instanceof MailFault) return error.code === 'unavailable' ? 'later' : 'none';
      throw error;
    }
  }

  #mayRead(bytes: number): boolean {
    const now = this.#options.now();
    if (Math.abs(now - this.#day.began) >= dayMs) this.#day = { began: now, bytes: 0 };
    if (this.#day.bytes + bytes > this.#limits.maxBytesADay) return false;
    this.#day.bytes += bytes;
    return true;
  }

  async #rest(): Promise<void> {
    const { now } = this.#options;
    const worked = now() - this.#turnBegan;
    if (worked >= 0 && worked < this.#limits.workMs) return;
    await this.#pause(restShare * Math.max(this.#limits.workMs, Math.min(worked, 1_000)));
    this.#turnBegan = now();
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined);
  }
}
