/** What a user's node remembers of those who write to him, and what it decided of each letter. On this node's disk. */
import { createHash } from 'node:crypto';
import { mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { assertSound } from '../store/environment.ts';
import { StoreFault } from '../store/fault.ts';

/** Two years: who has not been heard of for that long is as good as new. */
const keepPeopleMs = 730 * 86_400_000;
/** A notification lives 14 days, its receipt 15 (DESIGN §8): after that it is not asked about again. */
const keepDecisionsMs = 16 * 86_400_000;
/** More than anybody knows; a row is some 100 octets. Whoever was heard of longest ago goes first. */
const maxRows = 50_000;
const sweepAfter = 1_000;
/** Who wrote today is not written down again with every letter: years are counted here. */
const newsMs = 86_400_000;

type Kind = 'seen' | 'wrote' | 'decided';

interface Row {
  readonly at: number;
  readonly placed?: string;
  readonly rule?: string;
}

export class RecipientBook {
  readonly #db: RootDatabase<Row, string>;
  readonly #now: () => number;
  readonly #maxRows: number;
  #sinceSweep = 0;

  private constructor(db: RootDatabase<Row, string>, now: () => number, limit: number) {
    this.#db = db;
    this.#now = now;
    this.#maxRows = limit;
  }

  /** `dir` is this book's own folder. */
  static async open(dir: string, now: () => number, limit = maxRows): Promise<RecipientBook> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const file = path.join(dir, 'data.mdb');
    try {
      assertSound(file);
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      // Everybody is new again, nothing else is lost; the mailbox must not stay closed for that.
      await rename(file, `${file}.damaged`);
    }
    const db = open<Row, string>({ path: dir, encoding: 'json', overlappingSync: false });
    const book = new RecipientBook(db, now, limit);
    await book.sweep();
    return book;
  }

  /** His proven mail came into the inbox, or it was written to him. */
  async meet(kind: 'seen' | 'wrote', address: string): Promise<void> {
    const key = `${kind} ${digest(address)}`;
    const age = this.#now() - (this.#db.get(key)?.at ?? Number.NEGATIVE_INFINITY);
    if (age < 0 || age > newsMs) await this.#put(key);
  }

  knows(kind: 'seen' | 'wrote', address: string): boolean {
    return this.#db.get(`${kind} ${digest(address)}`) !== undefined;
  }

  /** What became of a letter, so that it becomes the same when it comes again after a crash or once its message can be had. */
  async decided(id: Uint8Array, placed: string, rule: string): Promise<void> {
    await this.#put(`decided ${hex(id)}`, { placed, rule });
  }

  decision(id: Uint8Array): { readonly placed: string; readonly rule: string } | undefined {
    const { placed, rule } = this.#db.get(`decided ${hex(id)}`) ?? {};
    return placed === undefined || rule === undefined ? undefined : { placed, rule };
  }

  async #put(key: string, more: Omit<Row, 'at'> = {}): Promise<void> {
    this.#sinceSweep += 1;
    if (this.#sinceSweep >= sweepAfter) await this.sweep();
    await this.#db.put(key, { at: this.#now(), ...more });
  }

  /** Forgets what is too old, and beyond the bound whatever is oldest. */
  async sweep(): Promise<void> {
    this.#sinceSweep = 0;
    const rows = [...this.#db.getRange({})].map(({ key, value }) => ({ key, at: value.at }));
    const now = this.#now();
    const keepMs = (key: string): number => (kindOf(key) === 'decided' ? keepDecisionsMs : keepPeopleMs);
    const old = rows.filter(({ key, at }) => at < now - keepMs(key));
    const kept = rows.filter(({ key, at }) => at >= now - keepMs(key)).sort((a, b) => a.at - b.at);
    const surplus = kept.slice(0, Math.max(0, kept.length - this.#maxRows));
    await Promise.all([...old, ...surplus].map(async ({ key }) => this.#db.remove(key)));
  }

  async close(): Promise<void> {
    await this.#db.close();
  }
}

function kindOf(key: string): Kind {
  return key.slice(0, key.indexOf(' ')) as Kind;
}

/** No address lies in the clear beside the mailbox. */
function digest(address: string): string {
  return createHash('sha256').update(address.toLowerCase()).digest('base64url').slice(0, 22);
}

function hex(id: Uint8Array): string {
  return Buffer.from(id).toString('hex');
}
