import { createHash } from 'node:crypto';
import type { Block, BlockSink, BlockSource, Lease } from '../../../node/store/content.ts';
import { StoreFault } from '../../../node/store/fault.ts';
import type { Renewed } from '../../../node/store/renewal.ts';
import type { StatedRound } from '../../../node/store/round.ts';

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

  /** Statements of refresh rounds, as they came. */
  readonly rounds: StatedRound[] = [];
  /** Blocks whose holders are out of reach just now. */
  readonly silent = new Set<string>();

  async renew(keys: readonly Uint8Array[], lease: Lease): Promise<Renewed> {
    const here = keys.filter((key) => this.blocks.has(Buffer.from(key).toString('hex')));
    const unreached = keys.filter((key) => this.silent.has(Buffer.from(key).toString('hex')));
    const missing = keys.filter((key) => !here.includes(key) && !unreached.includes(key));
    for (const key of here) this.leases.set(Buffer.from(key).toString('hex'), lease);
    return { renewed: here.length, missing, unreached };
  }

  async putRound(round: StatedRound): Promise<{ copies: number }> {
    this.rounds.push(round);
    return { copies: 1 };
  }

  async fetch(key: Uint8Array): Promise<Uint8Array> {
    const bytes = this.blocks.get(Buffer.from(key).toString('hex'));
    if (bytes === undefined) throw new StoreFault('missing', 'no such block');
    if (Buffer.compare(createHash('sha256').update(bytes).digest(), key) !== 0)
      throw new StoreFault('invalid', 'a block that is not its key');
    return bytes;
  }

  /** Blocks that would have to be fetched from elsewhere are not. */
  atHand(key: Uint8Array): Uint8Array | undefined {
    const name = Buffer.from(key).toString('hex');
    return this.silent.has(name) ? undefined : this.blocks.get(name);
  }

  get bytes(): number {
    return [...this.blocks.values()].reduce((sum, block) => sum + block.length, 0);
  }
}
