import { LogFault } from '../../../node/log/fault.ts';
import type { Log as PostLog } from '../../../node/log/log.ts';
import { itemsAfter, type LogItem, type Place, samePlace, start, type Takes } from '../../../node/log/place.ts';
import type { MailPost } from '../../../node/mail/mail-post.ts';
import { BlockShelf } from './block-shelf.ts';

interface Kept {
  readonly items: LogItem[];
  heads: number;
  snapshot?: { at: Place; state: Uint8Array };
}

/** The logs and blocks of a ring in memory, keeping node/log's contract; can be told to fail like a ring without quorum. */
export class MemoryPost implements MailPost {
  readonly store = new BlockShelf();
  readonly logs = new Map<string, Kept>();
  /** While set, appends fail as they do without a quorum. */
  down = false;
  /** Awaited before each append: a slow disk. */
  beforeAppend: () => Promise<void> = async () => undefined;
  /** Records read back, over all logs: what an opening costs. */
  recordsRead = 0;

  /** Heads written, over all logs. */
  get heads(): number {
    return [...this.logs.values()].reduce((sum, { heads }) => sum + heads, 0);
  }

  async openLog({
    name,
    create,
    takes,
  }: {
    name: string;
    create: boolean;
    takes?: Takes | undefined;
  }): Promise<PostLog> {
    let kept = this.logs.get(name);
    if (kept === undefined) {
      if (!create) throw new LogFault('missing', `nobody has a head of ${name}`);
      kept = { items: [], heads: 0 };
      this.logs.set(name, kept);
    }
    return this.#log(name, kept, takes ?? (() => 0));
  }

  async logHeads(): Promise<readonly Uint8Array[]> {
    return [];
  }

  /** Its logs lie in no blocks. */
  async logReferences(): Promise<undefined> {
    return undefined;
  }

  #log(name: string, kept: Kept, takes: Takes): PostLog {
    const place = (seq = kept.items.length): Place => kept.items[seq - 1]?.after ?? start;
    let closed = false;
    let waiting: Promise<unknown> = Promise.resolve();
    const append = async (records: readonly Uint8Array[], at?: Place): Promise<{ first: number }> => {
      if (closed) throw new LogFault('closed', 'closed');
      await new Promise((resolve) => setImmediate(resolve));
      await this.beforeAppend();
      if (this.down) throw new LogFault('unavailable', 'no quorum');
      const first = kept.items.length;
      if (at !== undefined && !samePlace(at, place()))
        throw new LogFault('overtaken', `${first} records, not ${at.seq}`);
      kept.items.push(
        ...itemsAfter(
          place(),
          records.map((record) => record.slice()),
          takes,
        ),
      );
      kept.heads += 1;
      return { first };
    };
    const read = (from: number): AsyncIterable<LogItem> => this.#read(kept, from);
    return {
      name,
      get version() {
        return kept.heads;
      },
      get length() {
        return kept.items.length;
      },
      append: async (records, at) => {
        const mine = waiting.then(
          async () => append(records, at),
          async () => append(records, at),
        );
        waiting = mine;
        return mine;
      },
      get place() {
        return place();
      },
      read,
      holds: async (at) => at.seq <= kept.items.length && samePlace(at, place(at.seq)),
      refresh: async () => false,
      onNews: () => () => undefined,
      snapshot: async () => kept.snapshot,
      saveSnapshot: async (at, state) => {
        kept.snapshot = { at, state: state.slice() };
      },
      snapshotDue: () => kept.items.length - (kept.snapshot?.at.seq ?? 0) > 500,
      close: async () => {
        closed = true;
      },
    };
  }

  async *#read(kept: Kept, from: number): AsyncIterable<LogItem> {
    for (const item of kept.items.slice(from)) {
      this.recordsRead += 1;
      yield item;
    }
  }
}
