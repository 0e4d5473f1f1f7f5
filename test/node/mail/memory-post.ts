import { LogFault } from '../../../node/log/fault.ts';
import type { Log as PostLog } from '../../../node/log/log.ts';
import type { MailPost } from '../../../node/mail/mail-post.ts';
import { BlockShelf } from './block-shelf.ts';

interface Kept {
  readonly records: Uint8Array[];
  heads: number;
  snapshot?: { seq: number; state: Uint8Array };
}

/** The logs and blocks of a ring in memory, keeping node/log's contract; can be told to fail like a ring without quorum. */
export class MemoryPost implements MailPost {
  readonly store = new BlockShelf();
  readonly logs = new Map<string, Kept>();
  /** While set, appends fail as they do without a quorum. */
  down = false;
  /** Records read back, over all logs: what an opening costs. */
  recordsRead = 0;

  /** Heads written, over all logs. */
  get heads(): number {
    return [...this.logs.values()].reduce((sum, { heads }) => sum + heads, 0);
  }

  async openLog({ name, create }: { name: string; create: boolean }): Promise<PostLog> {
    let kept = this.logs.get(name);
    if (kept === undefined) {
      if (!create) throw new LogFault('missing', `nobody has a head of ${name}`);
      kept = { records: [], heads: 0 };
      this.logs.set(name, kept);
    }
    return this.#log(name, kept);
  }

  /** Its logs lie in no blocks. */
  async logReferences(): Promise<undefined> {
    return undefined;
  }

  #log(name: string, kept: Kept): PostLog {
    let closed = false;
    let waiting: Promise<unknown> = Promise.resolve();
    const append = async (records: readonly Uint8Array[], at?: number): Promise<{ first: number }> => {
      if (closed) throw new LogFault('closed', 'closed');
      await new Promise((resolve) => setImmediate(resolve));
      if (this.down) throw new LogFault('unavailable', 'no quorum');
      const first = kept.records.length;
      if (at !== undefined && at !== first) throw new LogFault('overtaken', `${first} records, not ${at}`);
      kept.records.push(...records.map((record) => record.slice()));
      kept.heads += 1;
      return { first };
    };
    const read = (from: number): AsyncIterable<{ seq: number; record: Uint8Array }> => this.#read(kept, from);
    return {
      name,
      get version() {
        return kept.heads;
      },
      get length() {
        return kept.records.length;
      },
      append: async (records, at) => {
        const mine = waiting.then(
          async () => append(records, at),
          async () => append(records, at),
        );
        waiting = mine;
        return mine;
      },
      read,
      snapshot: async () => kept.snapshot,
      saveSnapshot: async (seq, state) => {
        kept.snapshot = { seq, state: state.slice() };
      },
      snapshotDue: () => kept.records.length - (kept.snapshot?.seq ?? 0) > 500,
      close: async () => {
        closed = true;
      },
    };
  }

  async *#read(kept: Kept, from: number): AsyncIterable<{ seq: number; record: Uint8Array }> {
    const end = kept.records.length;
    for (let seq = from; seq < end; seq++) {
      const record = kept.records[seq];
      if (record === undefined) return;
      this.recordsRead += 1;
      yield { seq, record };
    }
  }
}
