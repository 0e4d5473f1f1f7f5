import { createHash } from 'node:crypto';
import type { Block, BlockSink, BlockSource, Lease } from '../../../node/store/content.ts';
import { StoreFault } from '../../../node/store/fault.ts';

/** Blocks in memory: the smallest sink and source that keep the store's contract. */
export class BlockShelf implements BlockSink, BlockSource {
  readonly blocks = new Map<string, Uint8Array>();
  /** Every block handed in, repeats included. */
  inserted = 0;
  /** The newest lease on each block. */
  readonly leases = new Map<string, Lease>();

  async insert(blocks: readonly Block[], lease: Lease): Promise<{ copies: number; wanted: number }> {
    for (const { key, bytes } of blocks) {
      this.inserted += 1;
      this.blocks.set(Buffer.from(key).toString('hex'), bytes);
      this.leases.set(Buffer.from(key).toString('hex'), lease);
    }
    return { copies: 1, wanted: 1 };
  }

  async fetch(key: Uint8Array): Promise<Uint8Array> {
    const bytes = this.blocks.get(Buffer.from(key).toString('hex'));
    if (bytes === undefined) throw new StoreFault('missing', 'no such block');
    if (Buffer.compare(createHash('sha256').update(bytes).digest(), key) !== 0)
      throw new StoreFault('invalid', 'a block that is not its key');
    return bytes;
  }

  get bytes(): number {
    return [...this.blocks.values()].reduce((sum, block) => sum + block.length, 0);
  }
}
