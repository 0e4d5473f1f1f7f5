import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { assertSound } from '../store/environment.ts';
import { StoreFault } from '../store/fault.ts';

/** The state of a log as it was after `seq` records; `snapshotAt` is where its newest snapshot in the ring stands. */
export interface CachedState {
  readonly seq: number;
  readonly snapshotAt: number;
  readonly state: Uint8Array;
}

/**
 * States of logs on this node's disk, so that opening a mailbox replays only the last records. A cache: it may be deleted at any time, and
 * may be behind after a crash, never wrong: a state is written in one transaction with its number.
 */
export class IndexCache {
  readonly #db: RootDatabase<Uint8Array, string>;

  private constructor(db: RootDatabase<Uint8Array, string>) {
    this.#db = db;
  }

  static async open(dir: string): Promise<IndexCache> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const file = path.join(dir, 'data.mdb');
    try {
      assertSound(file);
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      // It holds nothing that the logs do not hold.
      await rm(file);
    }
    return new IndexCache(open<Uint8Array, string>({ path: dir, encoding: 'binary', overlappingSync: false }));
  }

  load(name: string): CachedState | undefined {
    const bytes = this.#db.getBinary(`state/${name}`);
    if (bytes === undefined || bytes.length < 12) return undefined;
    return {
      seq: bytes.readUIntBE(0, 6),
      snapshotAt: bytes.readUIntBE(6, 6),
      state: Uint8Array.prototype.slice.call(bytes, 12),
    };
  }

  async save(name: string, { seq, snapshotAt, state }: CachedState): Promise<void> {
    const head = Buffer.alloc(12);
    head.writeUIntBE(seq, 0, 6);
    head.writeUIntBE(snapshotAt, 6, 6);
    await this.#db.put(`state/${name}`, Buffer.concat([head, state]));
  }

  async forget(name: string): Promise<void> {
    await this.#db.remove(`state/${name}`);
  }

  /** When the lease of a message's blocks was last renewed from here, by the key of its manifest (hex); 0 = not known. */
  leasedAt(key: string): number {
    const bytes = this.#db.getBinary(`lease/${key}`);
    return bytes?.length === 6 ? bytes.readUIntBE(0, 6) : 0;
  }

  async leased(key: string, at: number): Promise<void> {
    const bytes = Buffer.alloc(6);
    bytes.writeUIntBE(at, 0, 6);
    await this.#db.put(`lease/${key}`, bytes);
  }

  /** When heads were kept here. */
  backups(): number[] {
    return [...this.#db.getKeys({ start: 'backup/', end: 'backup0' })].map((key) =>
      Number(key.slice('backup/'.length)),
    );
  }

  backup(at: number): Uint8Array | undefined {
    const bytes = this.#db.getBinary(`backup/${at}`);
    return bytes === undefined ? undefined : Uint8Array.prototype.slice.call(bytes);
  }

  /** Keeps heads, and forgets those from before `before`. */
  async keepBackup(at: number, bytes: Uint8Array, before: number): Promise<void> {
    for (const old of this.backups()) if (old < before) await this.#db.remove(`backup/${old}`);
    await this.#db.put(`backup/${at}`, bytes);
  }

  async close(): Promise<void> {
    await this.#db.close();
  }
}
