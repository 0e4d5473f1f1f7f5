import { decode, encode } from '@ipld/dag-cbor';
import type { IdentityCertificate } from '../../node/identity/certificate.ts';
import type { IdentityKeys } from '../../node/identity/keys.ts';
import type { Log } from '../../node/log/log.ts';
import type { Post } from '../../node/post/post.ts';
import type { Presence } from '../../node/post/presence.ts';
import { decodeRef, encodeRef } from '../../node/store/content.ts';
import type { Address } from '../../policy/address.ts';

/** A note on the board: its text lies in the ring, `ref` finds it. */
export interface Note {
  readonly id: string;
  readonly author: Address;
  readonly title: string;
  readonly ref: Uint8Array;
}

/**
 * A bulletin board on node/post alone (POST §3): the text of a note is content in the store, a note is said to the group of the board's readers,
 * which keeps it in a log of its author, and what a reader has on his board is a log of his own, so that it is there again on any of his machines.
 */
export class Board {
  readonly notes: Note[] = [];
  readonly #log: Log;
  #presence: Presence | undefined;

  private constructor(log: Log) {
    this.#log = log;
  }

  static async open(post: Post, who: { certificate: IdentityCertificate; keys: IdentityKeys }): Promise<Board> {
    const before = Promise.withResolvers<Board>();
    const presence = await post.present({
      ...who,
      handle: async () => ({ verdict: 'refused', rule: 'only-a-board' }),
      take: async ({ id, from, body }) => {
        const { title, ref } = decode<{ title: string; ref: Uint8Array }>(body);
        await (await before.promise).#pin({ id: Buffer.from(id).toString('hex'), author: from, title, ref });
      },
    });
    const log = await presence.openLog('board', true);
    const board = new Board(log);
    board.#presence = presence;
    for await (const item of log.read(0)) if (item.kind === 'record') board.notes.push(decode<Note>(item.record));
    before.resolve(board);
    return board;
  }

  get #at(): Presence {
    if (this.#presence === undefined) throw new Error('the board is closed');
    return this.#presence;
  }

  get boards(): readonly string[] {
    return this.#at.groups.list().map(({ id }) => id);
  }

  async begin(readers: readonly Address[]): Promise<string> {
    return this.#at.groups.create(readers);
  }

  async change(board: string, readers: readonly Address[]): Promise<void> {
    await this.#at.groups.change(board, readers);
  }

  async publish(board: string, title: string, text: string): Promise<void> {
    const ref = encodeRef(await this.#at.put(Buffer.from(text)));
    await this.#at.groups.say(board, encode({ title, ref }));
  }

  async read({ ref }: Pick<Note, 'ref'>): Promise<string> {
    return Buffer.from(await this.#at.get(decodeRef(ref))).toString();
  }

  /** The same note may come twice: it is on the board once. */
  async #pin(note: Note): Promise<void> {
    if (this.notes.some(({ id }) => id === note.id)) return;
    await this.#log.append([encode(note)]);
    this.notes.push(note);
  }

  async close(): Promise<void> {
    await this.#at.stop();
    await this.#log.close();
  }
}
