import type { Member } from '../overlay/overlay.ts';
import { StoreFault } from './fault.ts';
import type { ClaimedBlock, Holder } from './holder.ts';
import type { Lanes } from './lanes.ts';
import type { Neighbours } from './neighbours.ts';
import { maxInsertBlocks, maxInsertBytes } from './wire.ts';

interface Placed {
  readonly block: ClaimedBlock;
  /** Who could still take a copy, best first. */
  readonly takers: Member[];
  copies: number;
  underWay: number;
}

export interface InsertResult {
  /** Of the block with the fewest. */
  readonly copies: number;
  readonly wanted: number;
}

export interface InsertOptions {
  /**
   * A copy counts only when the holder has given it back. For what is kept nowhere else, or where holders are not trusted to keep their word: it moves
   * everything twice, and takes a round trip for each block.
   */
  readonly readBack?: boolean;
}

/** Cuts blocks into frames that the overlay carries. */
export function* frames<T>(blocks: readonly T[], blockOf: (one: T) => ClaimedBlock): Generator<T[]> {
  let frame: T[] = [];
  let bytes = 0;
  for (const one of blocks) {
    const { bytes: content, leases } = blockOf(one);
    const size = content.length + 32 + leases.reduce((sum, { identity }) => sum + identity.length * 2 + 40, 0);
    if (frame.length > 0 && (bytes + size > maxInsertBytes || frame.length === maxInsertBlocks)) {
      yield frame;
      frame = [];
      bytes = 0;
    }
    frame.push(one);
    bytes += size;
  }
  if (frame.length > 0) yield frame;
}

/**
 * One insert of several blocks: k copies each, side by side, in as few frames as possible. A holder that fails is replaced by the next nearest.
 * `atQuorum` settles as soon as that is certain either way; `finished` when nothing is under way any more.
 */
export class Insertion {
  readonly atQuorum: Promise<InsertResult>;
  readonly finished: Promise<void>;
  readonly #neighbours: Neighbours;
  readonly #lanes: Lanes;
  readonly #readBack: boolean;
  readonly #placed: Placed[];
  readonly #wanted: { copies: number; quorum: number };
  readonly #outcome = Promise.withResolvers<InsertResult>();
  readonly #causes: unknown[] = [];

  constructor(
    neighbours: Neighbours,
    lanes: Lanes,
    blocks: readonly ClaimedBlock[],
    { readBack = false }: InsertOptions,
  ) {
    this.#readBack = readBack;
    this.#neighbours = neighbours;
    this.#lanes = lanes;
    this.#wanted = neighbours.wanted();
    this.#placed = blocks.map((block) => ({ block, takers: neighbours.takers(block.key), copies: 0, underWay: 0 }));
    this.atQuorum = this.#outcome.promise;
    this.finished = this.#send(this.#placed).then(() => this.#judge());
    if (blocks.length === 0) this.#judge();
  }

  /** Gives each block to as many further takers as it still wants. Resolves when these, and those that replace them, are done. */
  async #send(blocks: readonly Placed[]): Promise<void> {
    const groups = new Map<Member, Placed[]>();
    for (const placed of blocks) {
      while (placed.copies + placed.underWay < this.#wanted.copies) {
        const taker = placed.takers.shift();
        if (taker === undefined) break;
        placed.underWay++;
        groups.set(taker, [...(groups.get(taker) ?? []), placed]);
      }
    }
    this.#judge();
    await Promise.all([...groups].flatMap(([member, group]) => this.#sendTo(member, group)));
  }

  #sendTo(member: Member, group: readonly Placed[]): Promise<void>[] {
    const holder = this.#neighbours.holder(member);
    // The own disk takes everything in one commit; only the wire has frames.
    const parts = this.#neighbours.isSelf(member) ? [[...group]] : [...frames(group, ({ block }) => block)];
    return parts.map(async (part) => {
      try {
        await this.#lanes.run(member.peerId, () => holder.insert(part.map(({ block }) => block)));
        for (const placed of part) if (await this.#counts(holder, placed)) placed.copies++;
      } catch (cause) {
        this.#causes.push(cause);
      }
      for (const placed of part) placed.underWay--;
      await this.#send(part);
    });
  }

  /** Whether a copy that a holder says it has may be counted: when it is to be read back, only once it has come back whole. */
  async #counts(holder: Holder, { block }: Placed): Promise<boolean> {
    if (!this.#readBack) return true;
    // What comes is the block, or the holder throws: it proves its bytes by their hash.
    if ((await holder.fetch(block.key)) !== undefined) return true;
    this.#causes.push(new StoreFault('invalid', 'a holder did not have what it had said to keep'));
    return false;
  }

  /** Settles the outcome when every block has its quorum, or one of them cannot get it any more. */
  #judge(): void {
    const copies = Math.min(...this.#placed.map((placed) => placed.copies), this.#wanted.copies);
    if (copies >= this.#wanted.quorum) {
      this.#outcome.resolve({ copies, wanted: this.#wanted.copies });
      return;
    }
    const lost = this.#placed.find(
      (placed) => placed.copies < this.#wanted.quorum && placed.underWay === 0 && placed.takers.length === 0,
    );
    if (lost === undefined) return;
    const full = this.#causes.find((cause) => cause instanceof StoreFault && cause.code === 'quota');
    if (full !== undefined) {
      this.#outcome.reject(full);
      return;
    }
    const message = `a block has ${lost.copies} durable copies, ${this.#wanted.quorum} are needed`;
    this.#outcome.reject(new StoreFault('quorum', message, { cause: this.#causes[0] }));
  }
}
