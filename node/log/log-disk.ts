import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { decode, encode } from '@ipld/dag-cbor';
import { type Database, open, type RootDatabase } from 'lmdb';
import { equalBytes } from '../identity/canonical.ts';
import { sha256 } from '../store/block-cipher.ts';
import type { Block } from '../store/content.ts';
import { assertSound } from '../store/environment.ts';
import { checkHead, type Head } from '../store/head.ts';
import { LogFault } from './fault.ts';

/** What this node wrote last: the head known to have reached the quorum, and the one sent out after it, whose fate a crash may have hidden. */
export interface OwnHeads {
  readonly acknowledged: Head | undefined;
  readonly sent: Head | undefined;
}

/** Where a node keeps its own logs. What a promise resolves for is durable. */
export interface LogShelf {
  heads(key: Uint8Array): OwnHeads;
  keepHeads(key: Uint8Array, heads: OwnHeads): Promise<void>;
  keepBlocks(blocks: readonly Block[]): Promise<void>;
  block(key: Uint8Array): Uint8Array | undefined;
}

/**
 * The node's own logs on its own disk (lmdb): the last heads, so that a version is never used twice and never rolled back whatever the ring
 * answers, and the groups, so that replay needs no network. Durable when a promise resolves.
 */
export class LogDisk implements LogShelf {
  readonly #root: RootDatabase<Buffer, string>;
  readonly #heads: Database<Buffer, Uint8Array>;
  readonly #blocks: Database<Buffer, Uint8Array>;
  #closed = false;

  private constructor(root: RootDatabase<Buffer, string>) {
    this.#root = root;
    this.#heads = root.openDB<Buffer, Uint8Array>('heads', { encoding: 'binary', keyEncoding: 'binary' });
    this.#blocks = root.openDB<Buffer, Uint8Array>('blocks', { encoding: 'binary', keyEncoding: 'binary' });
  }

  /** One per node: all logs that it writes share it, and their syncs. */
  static async open(dir: string): Promise<LogDisk> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    // overlappingSync would resolve a write before it is synced.
    const file = path.join(dir, 'logs.lmdb');
    assertSound(file);
    const options = { encoding: 'binary', overlappingSync: false, maxDbs: 8 } as const;
    return new LogDisk(open({ path: file, ...options }));
  }

  /** Damaged ones are absent: then the ring is asked. */
  heads(key: Uint8Array): OwnHeads {
    this.#assertOpen();
    const bytes = this.#heads.get(key);
    const [acknowledged, sent] = bytes === undefined ? [] : readPair(bytes);
    return { acknowledged: headOf(acknowledged, key), sent: headOf(sent, key) };
  }

  async keepHeads(key: Uint8Array, { acknowledged, sent }: OwnHeads): Promise<void> {
    this.#assertOpen();
    await this.#heads.put(key, Buffer.from(encode([acknowledged?.bytes ?? null, sent?.bytes ?? null])));
  }

  async keepBlocks(blocks: readonly Block[]): Promise<void> {
    this.#assertOpen();
    await Promise.all(blocks.map(({ key, bytes }) => this.#blocks.put(key, Buffer.from(bytes))));
  }

  /** Undefined for one that is absent or damaged: the store has it as well. */
  block(key: Uint8Array): Uint8Array | undefined {
    this.#assertOpen();
    const bytes = this.#blocks.get(key);
    return bytes !== undefined && equalBytes(sha256(bytes), key) ? bytes : undefined;
  }

  /** What is asked of it afterwards throws LogFault `closed`. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#root.close();
  }

  #assertOpen(): void {
    if (this.#closed) throw new LogFault('closed', "the disk of this node's logs has been closed");
  }
}

function readPair(bytes: Uint8Array): readonly unknown[] {
  try {
    const value: unknown = decode(bytes);
    return Array.isArray(value) ? (value as readonly unknown[]) : [];
  } catch {
    return [];
  }
}

function headOf(bytes: unknown, key: Uint8Array): Head | undefined {
  const head = bytes instanceof Uint8Array ? checkHead(bytes) : undefined;
  return head !== undefined && equalBytes(head.key, key) ? head : undefined;
}
