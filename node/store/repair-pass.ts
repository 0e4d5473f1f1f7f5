import { setImmediate as breath } from 'node:timers/promises';
import { equalBytes } from '../identity/canonical.ts';
import type { Trust } from '../identity/certificate.ts';
import { type Member, OverlayFault } from '../overlay/overlay.ts';
import { pause } from './background.ts';
import type { Disk } from './disk.ts';
import { type ClaimedBlock, type Item, stampOf } from './holder.ts';
import { frames } from './insertion.ts';
import type { Neighbours } from './neighbours.ts';
import { differingBuckets, type Summaries } from './summaries.ts';
import { type Kind, summaryBuckets } from './wire.ts';

/** Keys looked at before others get a turn; of heads and entries fewer, for they are read and hashed. */
const pageKeys = 500;
const smallPageKeys = 100;
const verifiedAtOnce = 16;
// Maintenance never starves mail: after each page and each frame the line and the disk are free for this long.
const pageRestMs = 10;
const frameRestMs = 2;

export interface PassTools {
  readonly disk: Disk;
  readonly neighbours: Neighbours;
  readonly trust: () => Trust;
  readonly signal: AbortSignal;
  /** Who should have the key now: the k nearest that are not lost. */
  readonly keepers: (key: Uint8Array) => readonly Member[];
  readonly summaries: Summaries;
  /** Fetches a good copy for one that was found damaged here. */
  readonly heal: (key: Uint8Array) => Promise<boolean>;
  readonly failed: (member: Member, cause: unknown) => void;
}

export interface PassCount {
  compared: number;
  pushed: number;
  damaged: number;
  healed: number;
  unreached: number;
}

/**
 * One walk over all that lies here: for each page of keys, asks the keepers what they lack and pushes it. `only` restricts it to one keeper;
 * `verify` hashes every block on the way. Never deletes anything.
 */
export class RepairPass {
  readonly #tools: PassTools;
  readonly #only: Member | undefined;
  readonly #verify: boolean;
  readonly count: PassCount = { compared: 0, pushed: 0, damaged: 0, healed: 0, unreached: 0 };
  /** Keepers that failed once in this pass are left alone for the rest of it. */
  readonly #givenUp = new Set<string>();
  /** For each keeper asked in this pass, in which buckets its sums differ. */
  readonly #differing = new Map<string, Promise<ReadonlySet<number> | 'unknown'>>();

  constructor(tools: PassTools, options: { only?: Member | undefined; verify: boolean }) {
    this.#tools = tools;
    this.#only = options.only;
    this.#verify = options.verify;
  }

  /** Heads and entries first: they are few, and mail waits for them. */
  async run(): Promise<PassCount> {
    const { disk } = this.#tools;
    await this.#walk('entry', disk.entries, (key) => {
      const hash = disk.entries.hash(key);
      return hash === undefined ? [] : [{ key, stamp: stampOf(hash) }];
    });
    await this.#walk('head', disk.heads, (key) =>
      disk.heads.hashes(key).map((hash) => ({ key, stamp: stampOf(hash) })),
    );
    for (const key of disk.blocks.damaged(pageKeys)) await this.#healOne(key);
    // What rests in the trash is pushed to nobody.
    for (const run of runsOf(await this.#bucketsToRead()))
      await this.#walk('block', disk.blocks, (key) => (disk.blocks.isWanted(key) ? [{ key }] : []), run);
    return this.count;
  }

  /** The buckets of blocks that have to be read: to be hashed, or since a keeper may lack something of them. In a ring at rest there are none. */
  async #bucketsToRead(): Promise<ReadonlySet<number>> {
    const { summaries, neighbours } = this.#tools;
    const all = new Set(Array.from({ length: summaryBuckets }, (_, bucket) => bucket));
    if (this.#verify) return all;
    const { sharing, foreign } = await summaries.outline();
    const read = new Set(foreign);
    for (const keeper of this.#only === undefined ? sharing : [this.#only]) {
      const differing = await this.#differingAt(keeper);
      if (differing !== 'unknown') for (const bucket of differing) read.add(bucket);
      else if (neighbours.isUp(keeper)) return all;
      else this.#giveUp(keeper);
    }
    return read;
  }

  #giveUp(keeper: Member): void {
    if (this.#givenUp.has(keeper.peerId)) return;
    this.#givenUp.add(keeper.peerId);
    this.count.unreached++;
  }

  async #walk(
    kind: Kind,
    shelf: { page(after: Uint8Array | undefined, limit: number, end?: Uint8Array): Uint8Array[] },
    thingsAt: (key: Uint8Array) => Item[],
    { first, last }: Run = everything,
  ): Promise<void> {
    let after = first === 0 ? undefined : endOf(first - 1);
    const end = last === everything.last ? undefined : Uint8Array.of(last + 1);
    for (;;) {
      const keys = shelf.page(after, kind === 'block' ? pageKeys : smallPageKeys, end);
      after = keys.at(-1);
      if (after === undefined || this.#tools.signal.aborted) return;
      if (kind === 'block' && this.#verify) await this.#verifyAll(keys);
      await this.#compare(kind, keys.flatMap(thingsAt));
      await pause(pageRestMs, this.#tools.signal);
    }
  }

  async #verifyAll(keys: readonly Uint8Array[]): Promise<void> {
    for (const [index, key] of keys.entries()) {
      // A megabyte is read and hashed in a millisecond from memory, and in ten from a disk.
      if (index % verifiedAtOnce === 0) await breath();
      if (this.#tools.signal.aborted) return;
      const found = await this.#tools.disk.blocks.get(key);
      if (found.kind === 'damaged') await this.#healOne(key);
    }
  }

  async #healOne(key: Uint8Array): Promise<void> {
    if (this.#tools.signal.aborted) return;
    this.count.damaged++;
    if (await this.#tools.heal(key)) this.count.healed++;
  }

  async #compare(kind: Kind, things: readonly Item[]): Promise<void> {
    this.count.compared += things.length;
    await this.#tools.neighbours.locate(things.map(({ key }) => key));
    const byKeeper = new Map<Member, Item[]>();
    for (const thing of things)
      for (const keeper of this.#tools.keepers(thing.key)) {
        const asked = this.#only === undefined || keeper.peerId === this.#only.peerId;
        if (!asked || this.#tools.neighbours.isSelf(keeper)) continue;
        if (kind === 'block' && (await this.#isSame(keeper, thing.key))) continue;
        byKeeper.set(keeper, [...(byKeeper.get(keeper) ?? []), thing]);
      }
    await Promise.all([...byKeeper].map(([keeper, its]) => this.#serve(kind, keeper, its)));
  }

  /** Whether the keeper surely has the block, because the sums over all such blocks here and there are the same. */
  async #isSame(keeper: Member, key: Uint8Array): Promise<boolean> {
    // A stand-in's copy is in nobody's sums.
    if (!this.#tools.keepers(key).some((member) => this.#tools.neighbours.isSelf(member))) return false;
    const buckets = await this.#differingAt(keeper);
    return buckets !== 'unknown' && !buckets.has(key[0] ?? 0);
  }

  #differingAt(keeper: Member): Promise<ReadonlySet<number> | 'unknown'> {
    const differing = this.#differing.get(keeper.peerId) ?? this.#askSummary(keeper);
    this.#differing.set(keeper.peerId, differing);
    return differing;
  }

  async #askSummary(keeper: Member): Promise<ReadonlySet<number> | 'unknown'> {
    if (!this.#tools.neighbours.isUp(keeper)) return 'unknown';
    try {
      const mine = await this.#tools.summaries.of(keeper.peerId);
      const root = mine.root();
      const theirs = await this.#tools.neighbours.remote(keeper).summary(root);
      return theirs === undefined ? new Set() : differingBuckets(mine, theirs);
    } catch (cause) {
      // Then each key is asked about.
      this.#tools.failed(keeper, cause);
      return 'unknown';
    }
  }

  /** Asks one keeper what it lacks of these and pushes that. */
  async #serve(kind: Kind, keeper: Member, things: readonly Item[]): Promise<void> {
    if (this.#givenUp.has(keeper.peerId)) return;
    try {
      if (!this.#tools.neighbours.isUp(keeper)) throw new Error('down');
      const lacking = await this.#tools.neighbours.holder(keeper).lacks(kind, things);
      const wanted = things.filter((_, index) => lacking[index]);
      if (kind === 'block') await this.#pushBlocks(keeper, wanted);
      else if (kind === 'head') await this.#pushHeads(keeper, wanted);
      else await this.#pushEntries(keeper, wanted);
    } catch (cause) {
      this.#giveUp(keeper);
      if (this.#tools.neighbours.isUp(keeper)) this.#tools.failed(keeper, cause);
    }
  }

  async #pushBlocks(keeper: Member, wanted: readonly Item[]): Promise<void> {
    const { disk, neighbours, signal } = this.#tools;
    // A frame's worth at a time: a page of full blocks would be 32 MB in memory.
    for (let at = 0; at < wanted.length && !signal.aborted; at += 8) {
      const blocks: ClaimedBlock[] = [];
      for (const { key } of wanted.slice(at, at + 8)) {
        const found = await disk.blocks.get(key);
        if (found.kind === 'block') blocks.push({ key, bytes: found.bytes, leases: disk.blocks.carried(key) });
        else if (found.kind === 'damaged') await this.#healOne(key);
      }
      for (const frame of frames(blocks, (block) => block)) {
        await neighbours.holder(keeper).insert(frame);
        this.count.pushed += frame.length;
        await pause(frameRestMs, signal);
      }
    }
  }

  /** What has changed or was found damaged since it was compared is left to the next walk. */
  async #pushHeads(keeper: Member, wanted: readonly Item[]): Promise<void> {
    const { disk, neighbours, signal } = this.#tools;
    for (const { key, stamp } of wanted) {
      const head = disk.heads.get(key).find(({ hash }) => equalBytes(stampOf(hash), stamp ?? hash));
      if (signal.aborted) return;
      if (head === undefined) continue;
      await this.#unlessRefused(keeper, async () => {
        const verdict = await neighbours.holder(keeper).putHead(head);
        if (verdict.kind === 'kept') this.count.pushed++;
        // What the keeper proved to be newer, or of the same version, belongs here as well.
        else for (const other of verdict.heads) await disk.heads.put(other);
      });
    }
  }

  async #pushEntries(keeper: Member, wanted: readonly Item[]): Promise<void> {
    const { disk, neighbours, signal, trust } = this.#tools;
    for (const { key } of wanted) {
      const entry = disk.entries.get(key, trust());
      if (signal.aborted) return;
      // Expired since it came.
      if (entry === undefined) continue;
      await this.#unlessRefused(keeper, async () => {
        const kept = await neighbours.holder(keeper).putEntry(entry.entry);
        this.count.pushed++;
        await disk.entries.put(kept, trust());
      });
    }
  }

  /** One thing that a keeper does not take (its clock differs, and it finds an entry expired) must not keep all others from it. */
  async #unlessRefused(keeper: Member, push: () => Promise<void>): Promise<void> {
    try {
      await push();
    } catch (cause) {
      if (!(cause instanceof OverlayFault) || cause.code !== 'refused') throw cause;
      this.#tools.failed(keeper, cause);
    }
  }
}

/** Buckets that follow each other; the first byte of a key is its bucket. */
interface Run {
  readonly first: number;
  readonly last: number;
}

const everything: Run = { first: 0, last: summaryBuckets - 1 };

function runsOf(buckets: ReadonlySet<number>): Run[] {
  const runs: { first: number; last: number }[] = [];
  for (const bucket of [...buckets].sort((one, other) => one - other)) {
    const run = runs.at(-1);
    if (run?.last === bucket - 1) run.last = bucket;
    else runs.push({ first: bucket, last: bucket });
  }
  return runs;
}

/** The last key of a bucket. */
function endOf(bucket: number): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, at) => (at === 0 ? bucket : 0xff));
}
