import type { Member } from '../overlay/overlay.ts';
import { type Background, pause } from './background.ts';
import type { Lease } from './content.ts';
import { StoreFault } from './fault.ts';
import type { Neighbours } from './neighbours.ts';
import { maxRenewKeys } from './wire.ts';

/** What became of the keys of a renewal. */
export interface Renewed {
  /** The lease is at the write quorum. */
  readonly renewed: number;
  /** Every holder says that the block does not exist. */
  readonly missing: readonly Uint8Array[];
  /** Too few holders took the lease; to be tried again. */
  readonly unreached: readonly Uint8Array[];
}

// Blocks that a holder lacked are in memory for a moment.
const fetchedAtOnce = 8;
// Mail goes first: after each batch of keys, and each block that has to be moved.
const restMs = 5;

interface Tools {
  readonly neighbours: Neighbours;
  readonly background: Background;
  readonly fetch: (key: Uint8Array) => Promise<Uint8Array>;
  readonly failed: (member: Member, cause: unknown) => void;
}

/** Renews leases by key: holders that have the block note it, one that lacks it is given it. Blocks do not move otherwise. */
export class Renewal {
  readonly #tools: Tools;

  constructor(tools: Tools) {
    this.#tools = tools;
  }

  async run(keys: readonly Uint8Array[], lease: Lease): Promise<Renewed> {
    const total = { renewed: 0, missing: [] as Uint8Array[], unreached: [] as Uint8Array[] };
    for (let at = 0; at < keys.length; at += maxRenewKeys) {
      const one = await this.#batch(keys.slice(at, at + maxRenewKeys), lease);
      total.renewed += one.renewed;
      total.missing.push(...one.missing);
      total.unreached.push(...one.unreached);
      if (at + maxRenewKeys < keys.length) await pause(restMs, this.#tools.background.signal);
    }
    return total;
  }

  async #batch(keys: readonly Uint8Array[], lease: Lease): Promise<Renewed> {
    const { neighbours } = this.#tools;
    await neighbours.locate(keys);
    const copies = new Map(keys.map((key) => [key, 0]));
    const lacking = new Map<Uint8Array, Member[]>();
    const byHolder = new Map<Member, Uint8Array[]>();
    for (const key of keys)
      for (const member of neighbours.place(key).proper) byHolder.set(member, [...(byHolder.get(member) ?? []), key]);
    await Promise.all(
      [...byHolder].map(async ([member, its]) => {
        try {
          const lacks = await neighbours.holder(member).renew(its, lease);
          for (const [index, key] of its.entries())
            if (lacks[index] !== true) copies.set(key, (copies.get(key) ?? 0) + 1);
            else lacking.set(key, [...(lacking.get(key) ?? []), member]);
        } catch (cause) {
          this.#tools.failed(member, cause);
        }
      }),
    );
    const missing = await this.#provide(lacking, copies, lease);
    const { quorum } = neighbours.wanted();
    const gone = new Set(missing);
    const unreached = keys.filter((key) => (copies.get(key) ?? 0) < quorum && !gone.has(key));
    return { renewed: keys.length - missing.length - unreached.length, missing, unreached };
  }

  /** Gives blocks to the holders that lack them; answers those that nobody has. */
  async #provide(
    lacking: ReadonlyMap<Uint8Array, readonly Member[]>,
    copies: Map<Uint8Array, number>,
    lease: Lease,
  ): Promise<Uint8Array[]> {
    const missing: Uint8Array[] = [];
    const all = [...lacking];
    for (let at = 0; at < all.length; at += fetchedAtOnce) {
      await Promise.all(
        all.slice(at, at + fetchedAtOnce).map(async ([key, members]) => {
          const bytes = await this.#fetched(key, missing);
          if (bytes === undefined) return;
          for (const member of members)
            try {
              await this.#tools.neighbours.holder(member).insert([{ key, bytes, leases: [lease] }]);
              copies.set(key, (copies.get(key) ?? 0) + 1);
            } catch (cause) {
              this.#tools.failed(member, cause);
            }
        }),
      );
      await pause(restMs, this.#tools.background.signal);
    }
    return missing;
  }

  async #fetched(key: Uint8Array, missing: Uint8Array[]): Promise<Uint8Array | undefined> {
    try {
      return await this.#tools.fetch(key);
    } catch (cause) {
      if (!(cause instanceof StoreFault)) throw cause;
      if (cause.code === 'missing') missing.push(key);
      return undefined;
    }
  }
}
