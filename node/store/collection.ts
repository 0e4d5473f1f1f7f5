import type { Address } from '../../policy/address.ts';
import type { Trust } from '../identity/certificate.ts';
import type { Member } from '../overlay/overlay.ts';
import { pause } from './background.ts';
import { ownerPays } from './claims.ts';
import type { Lookup } from './directory.ts';
import type { Disk } from './disk.ts';
import { gather } from './gathering.ts';
import type { Claimed, Standing } from './holder.ts';
import type { Neighbours } from './neighbours.ts';
import { hasEnded, type LeaseHolderFacts, roundKey } from './round.ts';
import { maxExchangeItems } from './wire.ts';

/** How long what nobody seems to need any more is kept all the same. */
export interface Patience {
  /** In the trash: a lease that comes late, or a reader, brings a block back. A week of holidays of whoever would notice. */
  readonly trashMs: number;
  /** Without any lease, known here or to the other holders: longer than a lease lasts, so that whoever has one has renewed it. */
  readonly orphanMs: number;
  /** Leases of an identity that the ring no longer knows, or has revoked: half a year, for an heir or an auditor to ask. */
  readonly goneMs: number;
}

const day = 86_400_000;
export const defaultPatience: Patience = { trashMs: 7 * day, orphanMs: 42 * day, goneMs: 180 * day };

export interface CollectReport {
  /** Blocks looked at. */
  looked: number;
  /** Put into the trash: all leases ended, or never had one, or at home elsewhere. */
  ended: number;
  orphaned: number;
  misplaced: number;
  /** Leases learnt from other holders. */
  learnt: number;
  /** Kept because a holder that must be asked gave no answer. */
  undecided: number;
  /** Taken out of the trash for good. */
  deleted: number;
}

export interface CollectionTools {
  readonly disk: Disk;
  readonly neighbours: Neighbours;
  readonly trust: () => Trust;
  readonly signal: AbortSignal;
  readonly lookup: (address: Address) => Promise<Lookup>;
  readonly patience: Patience;
  readonly failed: (member: Member, cause: unknown) => void;
}

type Why = 'ended' | 'orphaned' | 'misplaced';

// Keys looked at before others get a turn, and blocks deleted in one commit; after each the disk is free for that long.
const pageKeys = 500;
const deletedAtOnce = 64;
const restMs = 10;

/**
 * One walk over all that lies here: what nobody needs goes into the trash, what has rested there long enough is deleted. Doubt keeps: nothing
 * goes because of time alone, nor while one of its other holders cannot be asked.
 */
export class Collection {
  readonly #tools: CollectionTools;
  readonly #facts = new Map<Address, LeaseHolderFacts>();
  /** Holders that gave no answer in this walk are not waited for again. */
  readonly #silent = new Set<Member>();
  readonly report: CollectReport = {
    looked: 0,
    ended: 0,
    orphaned: 0,
    misplaced: 0,
    learnt: 0,
    undecided: 0,
    deleted: 0,
  };

  constructor(tools: CollectionTools) {
    this.#tools = tools;
  }

  async run(): Promise<CollectReport> {
    const { disk, signal } = this.#tools;
    await this.#emptyTrash();
    let after: Uint8Array | undefined;
    for (;;) {
      const keys = disk.blocks.page(after, pageKeys);
      after = keys.at(-1);
      if (after === undefined || signal.aborted) return this.report;
      await this.#look(keys.filter((key) => disk.blocks.trashedAt(key) === undefined));
      await pause(restMs, signal);
    }
  }

  async #emptyTrash(): Promise<void> {
    const { disk, signal, trust, patience } = this.#tools;
    let after: Uint8Array | undefined;
    for (;;) {
      const keys = disk.blocks.trashPage(after, deletedAtOnce);
      after = keys.at(-1);
      if (after === undefined || signal.aborted) return;
      this.report.deleted += await disk.blocks.empty(keys, trust().now - patience.trashMs);
      await pause(restMs, signal);
    }
  }

  async #look(keys: readonly Uint8Array[]): Promise<void> {
    this.report.looked += keys.length;
    const { disk, neighbours, trust } = this.#tools;
    await neighbours.locate(keys);
    const unleased = keys.filter((key) => disk.blocks.leases.of(key).length === 0);
    const fresh = unleased.filter((key) => disk.blocks.leases.orphanSince(key) === undefined);
    if (fresh.length > 0) await disk.blocks.noteOrphans(fresh, trust().now, ownerPays(neighbours.self));
    await this.#learnFactsOf(keys);
    const doubtful = new Map<Uint8Array, Why>();
    for (const key of keys) {
      const why = this.#why(key);
      if (why !== undefined) doubtful.set(key, why);
    }
    if (doubtful.size === 0) return;
    const answers = await this.#askHolders([...doubtful.keys()]);
    await this.#takeLeases(answers);
    // They may be in the names of others, who have their say too.
    await this.#learnFactsOf([...doubtful.keys()]);
    await this.#decide(doubtful, answers);
  }

  /** Why a block may not belong here any more, as far as this node knows. */
  #why(key: Uint8Array): Why | undefined {
    const { disk, neighbours } = this.#tools;
    const leases = disk.blocks.leases.of(key);
    if (leases.length === 0) return 'orphaned';
    if (this.#allEnded(key)) return 'ended';
    return neighbours.isProper(key) ? undefined : 'misplaced';
  }

  #allEnded(key: Uint8Array): boolean {
    const { disk, trust, patience } = this.#tools;
    const leases = disk.blocks.leases.of(key);
    const { now } = trust();
    const nobody: LeaseHolderFacts = { round: undefined, goneSince: undefined };
    return (
      leases.length > 0 &&
      leases.every((lease) => hasEnded(lease, this.#facts.get(lease.identity) ?? nobody, now, patience.goneMs))
    );
  }

  /** What is known of the identities whose leases have run out; each is asked for once a walk. */
  async #learnFactsOf(keys: readonly Uint8Array[]): Promise<void> {
    const { disk, trust } = this.#tools;
    const { now } = trust();
    for (const key of keys)
      for (const { identity, until } of disk.blocks.leases.of(key))
        if (until < now && !this.#facts.has(identity)) this.#facts.set(identity, await this.#factsOf(identity));
  }

  async #factsOf(identity: Address): Promise<LeaseHolderFacts> {
    const { disk, neighbours, trust, signal, lookup } = this.#tools;
    const key = roundKey(identity);
    const found = await gather(neighbours, key, (holder) => holder.round(key), signal);
    const rounds = [...found.answers.values()].filter((one) => one !== undefined);
    const [newest] = rounds.sort((left, right) => right.round.completed - left.round.completed);
    if (newest !== undefined) await disk.rounds.put(newest.stated, trust());
    const known = disk.rounds.get(key, trust());
    const { kind } = await lookup(identity);
    if (kind === 'found') await disk.rounds.back(identity);
    if (kind === 'none' || kind === 'revoked') await disk.rounds.gone(identity, trust().now);
    return { round: known?.round, goneSince: disk.rounds.goneSince(identity) };
  }

  /** Tells the other holders of these the leases known here, and asks for theirs: the proper ones, and stand-ins that are up. */
  async #askHolders(keys: readonly Uint8Array[]): Promise<Map<Uint8Array, Map<Member, Standing>>> {
    const { disk, neighbours, signal } = this.#tools;
    const answers = new Map(keys.map((key) => [key, new Map<Member, Standing>()]));
    const byHolder = new Map<Member, Uint8Array[]>();
    for (const key of keys) {
      const { proper, spare } = neighbours.place(key);
      const standIns = spare.filter((member) => neighbours.isUp(member)).slice(0, neighbours.copies);
      for (const member of [...proper, ...standIns])
        if (!neighbours.isSelf(member)) byHolder.set(member, [...(byHolder.get(member) ?? []), key]);
    }
    await Promise.all(
      [...byHolder].map(async ([member, its]) => {
        let at = 0;
        while (at < its.length && !this.#silent.has(member) && !signal.aborted) {
          const claimed = its
            .slice(at, at + maxExchangeItems)
            .map((key): Claimed => ({ key, leases: disk.blocks.carried(key) }));
          try {
            const standings = await neighbours.holder(member).exchange(claimed);
            if (standings.length === 0) throw new Error('an exchange without an answer');
            for (const [index, standing] of standings.entries()) {
              const key = claimed[index]?.key;
              if (key !== undefined) answers.get(key)?.set(member, standing);
            }
            at += standings.length;
          } catch (cause) {
            this.#silent.add(member);
            this.#tools.failed(member, cause);
          }
        }
      }),
    );
    return answers;
  }

  async #takeLeases(answers: ReadonlyMap<Uint8Array, ReadonlyMap<Member, Standing>>): Promise<void> {
    const { disk } = this.#tools;
    const news = new Map<Uint8Array, { identity: Address; until: number; payer: string }[]>();
    for (const [key, standings] of answers) {
      const known = new Map(disk.blocks.leases.of(key).map(({ identity, until }) => [identity, until]));
      for (const [member, { leases }] of standings)
        for (const lease of leases)
          if ((known.get(lease.identity) ?? -1) < lease.until)
            news.set(key, [...(news.get(key) ?? []), { ...lease, payer: ownerPays(member) }]);
    }
    if (news.size === 0) return;
    await disk.blocks.renew([...news.keys()], (key) => news.get(key) ?? []);
    this.report.learnt += news.size;
  }

  async #decide(
    doubtful: ReadonlyMap<Uint8Array, Why>,
    answers: ReadonlyMap<Uint8Array, ReadonlyMap<Member, Standing>>,
  ): Promise<void> {
    const { disk, neighbours, trust, patience } = this.#tools;
    const { now } = trust();
    const going: Record<Why, Uint8Array[]> = { ended: [], orphaned: [], misplaced: [] };
    for (const key of doubtful.keys()) {
      const why = this.#why(key);
      if (why === undefined) continue;
      if (why === 'orphaned' && now - (disk.blocks.leases.orphanSince(key) ?? now) <= patience.orphanMs) continue;
      const { proper } = neighbours.place(key);
      const others = proper.filter((member) => !neighbours.isSelf(member));
      const standings = others.map((member) => answers.get(key)?.get(member));
      if (standings.some((standing) => standing === undefined)) this.report.undecided++;
      else if (why !== 'misplaced' || standings.every((standing) => standing?.held === true)) going[why].push(key);
    }
    for (const why of ['ended', 'orphaned', 'misplaced'] as const)
      this.report[why] += await disk.blocks.trash(
        going[why],
        { now, misplaced: why === 'misplaced' },
        (key) => this.#why(key) === why,
      );
  }
}
