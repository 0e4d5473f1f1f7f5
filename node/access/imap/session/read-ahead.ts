import { MailFault } from '../../../mail/fault.ts';
import type { Folder } from '../../../mail/folder.ts';
import type { Numbered } from './view.ts';

// What a list of messages has to wait for at once where they lie on other machines.
const messagesAhead = 8;
// Some letters; large messages are read one by one.
const bytesAhead = 1024 * 1024;

/** The messages of a FETCH in their order: those that come next are being fetched while one is sent. */
export class ReadAhead {
  readonly #folder: Folder;
  readonly #messages: readonly Numbered[];
  readonly #ahead = new Map<number, Promise<Uint8Array | undefined>>();
  #next = 0;
  #bytes = 0;

  constructor(folder: Folder, messages: readonly Numbered[]) {
    this.#folder = folder;
    this.#messages = messages;
  }

  /** The message; undefined when it is gone. To be asked in order. Throws what {@link Folder.bytes} throws else. */
  async bytes({ uid, size }: Numbered['entry']): Promise<Uint8Array | undefined> {
    this.#begin();
    const begun = this.#ahead.get(uid);
    if (begun === undefined) return await this.#fetch(uid);
    this.#ahead.delete(uid);
    this.#bytes -= size;
    return await begun;
  }

  /** Resolves when nothing is being fetched any more. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#ahead.values());
  }

  #begin(): void {
    for (; this.#ahead.size < messagesAhead; this.#next += 1) {
      const entry = this.#messages[this.#next]?.entry;
      if (entry === undefined) return;
      if (entry.size > bytesAhead) continue;
      if (this.#bytes + entry.size > bytesAhead) return;
      const begun = this.#fetch(entry.uid);
      // Met when its turn comes, or by end().
      begun.catch(() => undefined);
      this.#ahead.set(entry.uid, begun);
      this.#bytes += entry.size;
    }
  }

  async #fetch(uid: number): Promise<Uint8Array | undefined> {
    try {
      return await this.#folder.bytes(uid);
    } catch (fault) {
      if (fault instanceof MailFault && fault.code === 'no-such-message') return undefined;
      throw fault;
    }
  }
}
