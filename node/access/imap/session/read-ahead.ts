import { MailFault } from '../../../mail/fault.ts';
import type { Folder } from '../../../mail/folder.ts';
import type { Numbered } from './view.ts';

// What a list of messages has to wait for at once where they lie on other machines.
const messagesAhead = 8;
// Some letters; large messages are read one by one.
const bytesAhead = 1024 * 1024;

type Message = Uint8Array | undefined;

/** The messages of a FETCH in their order: those that come next are read, or being fetched, while one is sent. */
export class ReadAhead {
  readonly #folder: Folder;
  readonly #messages: readonly Numbered[];
  readonly #ahead = new Map<number, Message | Promise<Message>>();
  #next = 0;
  #bytes = 0;

  constructor(folder: Folder, messages: readonly Numbered[]) {
    this.#folder = folder;
    this.#messages = messages;
  }

  /**
   * The message, at once where it need not be waited for; undefined when it is gone. To be asked in order. Throws, or rejects with, what
   * {@link Folder.bytes} throws else.
   */
  bytes({ uid, size }: Numbered['entry']): Message | Promise<Message> {
    this.#begin();
    const begun = this.#ahead.get(uid);
    if (begun === undefined) return this.#read(uid);
    this.#ahead.delete(uid);
    this.#bytes -= size;
    return begun;
  }

  /** Resolves when nothing is being fetched any more. */
  async end(): Promise<void> {
    await Promise.allSettled([...this.#ahead.values()].filter((one) => one instanceof Promise));
  }

  #begin(): void {
    for (; this.#ahead.size < messagesAhead; this.#next += 1) {
      const entry = this.#messages[this.#next]?.entry;
      if (entry === undefined) return;
      if (entry.size > bytesAhead) continue;
      if (this.#bytes + entry.size > bytesAhead) return;
      const begun = this.#read(entry.uid);
      // Met when its turn comes, or by end().
      if (begun instanceof Promise) begun.catch(() => undefined);
      this.#ahead.set(entry.uid, begun);
      this.#bytes += entry.size;
    }
  }

  #read(uid: number): Message | Promise<Message> {
    return this.#folder.bytesAtHand(uid) ?? this.#fetch(uid);
  }

  async #fetch(uid: number): Promise<Message> {
    try {
      return await this.#folder.bytes(uid);
    } catch (fault) {
      if (fault instanceof MailFault && fault.code === 'no-such-message') return undefined;
      throw fault;
    }
  }
}
