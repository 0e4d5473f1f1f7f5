import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { assertSound } from '../store/environment.ts';
import { StoreFault } from '../store/fault.ts';
import type { Log } from './mail-post.ts';
import { MessageTexts } from './message-texts.ts';

// Some 300,000 messages with headers of 3 KiB; a file that has grown beyond is begun anew at the next start.
const maxFileBytes = 1024 ** 3;
/** What is kept of one message at most: beyond, its header is one that no list of messages needs. */
export const maxSummaryBytes = 64 * 1024;

// A few hundred of some KiB each are in memory meanwhile, at most.
const waitMs = 250;
const maxWaiting = 256;

const nonceBytes = 12;
const tagBytes = 16;

/**
 * What readers of mail keep of messages so as not to read them again, on this node's disk. A cache: it may be deleted while the mailbox is closed, lose
 * what was put last in a crash, and says so by having nothing. Sealed under the mailbox's key, as the mail itself is.
 */
export class Summaries {
  readonly #db: RootDatabase<Uint8Array, string>;
  /** As a key object: from octets Node takes four times as long for each message. */
  readonly #key: KeyObject;
  readonly #log: Log;
  /** Put, and not to be read from the disk yet. */
  readonly #writing = new Map<string, Buffer>();
  /** Of these, the ones that wait to be written together. */
  readonly #waiting = new Map<string, Buffer>();
  #flush: NodeJS.Timeout | undefined;
  /** What searches look at, beside the summaries and gone when they are. */
  readonly texts = new MessageTexts(this);

  private constructor(db: RootDatabase<Uint8Array, string>, key: Uint8Array, log: Log) {
    this.#db = db;
    this.#key = createSecretKey(key);
    this.#log = log;
  }

  static async open(dir: string, key: Uint8Array, log: Log): Promise<Summaries> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const file = path.join(dir, 'data.mdb');
    try {
      assertSound(file);
      if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > maxFileBytes) await rm(file);
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      await rm(file);
    }
    const db = open<Uint8Array, string>({ path: dir, encoding: 'binary', overlappingSync: false });
    return new Summaries(db, key, log);
  }

  get(emailId: string): Buffer | undefined {
    const sealed = this.#writing.get(emailId) ?? this.#db.getBinary(emailId);
    if (sealed === undefined || sealed.length < nonceBytes + tagBytes) return undefined;
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, sealed.subarray(0, nonceBytes));
      decipher.setAAD(Buffer.from(emailId));
      decipher.setAuthTag(sealed.subarray(-tagBytes));
      return Buffer.concat([decipher.update(sealed.subarray(nonceBytes, -tagBytes)), decipher.final()]);
    } catch {
      // Of another key, or damaged: made anew by whoever asks.
      return undefined;
    }
  }

  /** Written in the background, with others: a cache must not have the disk synced for each message that is appended. One that is too large is not kept. */
  put(emailId: string, summary: Uint8Array, maxBytes: number = maxSummaryBytes): void {
    if (summary.length > maxBytes) return;
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce);
    cipher.setAAD(Buffer.from(emailId));
    const sealed = Buffer.concat([nonce, cipher.update(summary), cipher.final(), cipher.getAuthTag()]);
    this.#writing.set(emailId, sealed);
    this.#waiting.set(emailId, sealed);
    if (this.#waiting.size >= maxWaiting) this.#write();
    else this.#flush ??= setTimeout(() => this.#write(), waitMs).unref();
  }

  /** All that waits, in one transaction. */
  #write(): void {
    clearTimeout(this.#flush);
    this.#flush = undefined;
    for (const [emailId, sealed] of this.#waiting) {
      this.#db
        .put(emailId, sealed)
        .catch((fault: unknown) => {
          this.#log.debug({ err: fault }, 'a summary was not kept; the message is read again');
        })
        .finally(() => {
          if (this.#writing.get(emailId) === sealed) this.#writing.delete(emailId);
        });
    }
    this.#waiting.clear();
  }

  async close(): Promise<void> {
    this.texts.close();
    this.#write();
    await this.#db.close();
  }
}
