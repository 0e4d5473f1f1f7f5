import type { LogStore } from '../../../node/log/log.ts';
import type { LogShelf, OwnHeads } from '../../../node/log/log-disk.ts';
import type { Block } from '../../../node/store/content.ts';
import { StoreFault } from '../../../node/store/fault.ts';
import { checkHead, type Head, newestHeads } from '../../../node/store/head.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** What a holder keeps of heads, as node/store/head-disk.ts does: the newest of each key, and the others of a version that has several. */
class Holder {
  readonly heads = new Map<string, Head[]>();

  put(head: Head): { kind: 'kept' } | { kind: 'stale' | 'fork'; heads: readonly Head[] } {
    const key = hex(head.key);
    const here = this.heads.get(key) ?? [];
    const [current] = here;
    if (current === undefined || current.version < head.version) this.heads.set(key, [head]);
    else if (current.version > head.version) return { kind: 'stale', heads: [current] };
    else if (hex(current.hash) !== hex(head.hash)) {
      if (!here.some(({ hash }) => hex(hash) === hex(head.hash))) here.push(head);
      return { kind: 'fork', heads: [current] };
    }
    return { kind: 'kept' };
  }
}

/**
 * A ring in memory for histories by the thousand: each node is a holder, every node in reach is asked, and a write needs the own holder alone, so that all
 * parts of a divided ring go on by themselves. Blocks are everywhere at once, unless they are lost.
 */
export class MemoryRing {
  readonly blocks = new Map<string, Uint8Array>();
  readonly #holders: readonly Holder[];
  #part: readonly number[];

  constructor(nodes: number) {
    this.#holders = Array.from({ length: nodes }, () => new Holder());
    this.#part = this.#holders.map(() => 0);
  }

  /** `parts[n]`: which part of the ring the node n is in. */
  divide(parts: readonly number[]): void {
    this.#part = this.#holders.map((_, node) => parts[node] ?? 0);
  }

  heal(): void {
    this.divide([]);
  }

  /** The logs that have heads here. */
  keys(): Uint8Array[] {
    const names = new Set(this.#holders.flatMap(({ heads }) => [...heads.keys()]));
    return [...names].map((name) => Buffer.from(name, 'hex'));
  }

  #reach(node: number): Holder[] {
    const own = this.#holders[node];
    const others = this.#holders.filter((holder, other) => holder !== own && this.#part[other] === this.#part[node]);
    return own === undefined ? [] : [own, ...others];
  }

  /** The store as node `n` has it; `doubt` says whether the next head is sent without its sender learning that it arrived. */
  store(node: number, doubt: () => boolean = () => false): LogStore {
    return {
      insert: async (blocks) => {
        for (const { key, bytes } of blocks) this.blocks.set(hex(key), bytes);
        return { copies: 1, wanted: 1 };
      },
      fetch: async (key) => {
        const bytes = this.blocks.get(hex(key));
        if (bytes === undefined) throw new StoreFault('missing', 'no such block');
        return bytes;
      },
      putHead: async (bytes) => {
        const head = checkHead(bytes);
        if (head === undefined) throw new Error('a head that is none');
        const isDoubtful = doubt();
        const against = this.#reach(node).map((holder) => holder.put(head));
        if (isDoubtful) throw new StoreFault('quorum', 'as told');
        for (const verdict of against)
          if (verdict.kind !== 'kept')
            throw new StoreFault(verdict.kind, 'as a holder proves', { heads: verdict.heads.map((one) => one.bytes) });
        return { copies: against.length };
      },
      getHeads: async (key) => {
        const found = newestHeads(this.#reach(node).flatMap((holder) => holder.heads.get(hex(key)) ?? []));
        return { heads: found.map(({ bytes }) => bytes), answered: 3, asked: 3, sure: true };
      },
    };
  }
}

/** A node's own logs in memory. */
export class MemoryShelf implements LogShelf {
  readonly #heads = new Map<string, OwnHeads>();
  readonly #blocks = new Map<string, Uint8Array>();

  heads(key: Uint8Array): OwnHeads {
    return this.#heads.get(hex(key)) ?? { acknowledged: undefined, sent: undefined };
  }

  async keepHeads(key: Uint8Array, heads: OwnHeads): Promise<void> {
    this.#heads.set(hex(key), heads);
  }

  async keepBlocks(blocks: readonly Block[]): Promise<void> {
    for (const { key, bytes } of blocks) this.#blocks.set(hex(key), bytes);
  }

  block(key: Uint8Array): Uint8Array | undefined {
    return this.#blocks.get(hex(key));
  }

  /** As after a damaged disk. */
  forgetBlocks(): void {
    this.#blocks.clear();
  }
}
