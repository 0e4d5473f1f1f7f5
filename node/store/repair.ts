import type { Clock, Member, MembershipChange } from '../overlay/overlay.ts';
import { type Background, pause } from './background.ts';
import { windowOf } from './placement.ts';
import { type PassCount, type PassTools, RepairPass } from './repair-pass.ts';
import { Summaries, type Summary } from './summaries.ts';
import { Vicinity } from './vicinity.ts';
import { handOverWaitMs } from './wire.ts';

// Down for longer than this counts as lost: the next nearest node takes its share. A reboot takes less, and moving copies costs traffic.
const lostAfterMs = 10 * 60_000;
// The interval at which what events did not trigger is found: a lost node, a write whose last copy failed.
const everyMs = 5 * 60_000;
// After a change of members the others move too; one walk serves them all.
const restAfterChangeMs = 2_000;
// A node that came back gets its copies soon; a little later than it needs to get ready.
const restAfterUpMs = 300;
// Asked for with each sum that is compared; who is lost is told by minutes.
const seenForMs = 1_000;
// Every block is hashed in one of this many periodic walks; repair() hashes all.
const verifyEvery = 12;

/** Decides when copies are compared with their holders, and does it: one walk at a time, paced. */
export class Repair {
  readonly #tools: PassTools;
  readonly #summaries: Summaries;
  readonly #vicinity: Vicinity;
  readonly #background: Background;
  readonly #now: Clock;
  readonly #downSince = new Map<string, number>();
  #walks: Promise<unknown> = Promise.resolve();
  #dueAll = false;
  readonly #dueFor = new Set<string>();
  readonly #handingOver = new Map<string, Promise<PassCount>>();
  #rounds = 0;
  #seen: { readonly at: number; readonly ring: string } | undefined;

  constructor(tools: Omit<PassTools, 'keepers' | 'summaries'>, background: Background, now: Clock) {
    const { disk, neighbours, signal } = tools;
    const keepers = (key: Uint8Array): Member[] => this.#keepers(key);
    this.#vicinity = new Vicinity({
      self: () => neighbours.self,
      closest: (position, count) => neighbours.closest(position, count),
      window: windowOf(neighbours.copies),
      now,
    });
    this.#summaries = new Summaries({
      selfId: neighbours.self.peerId,
      keepers,
      ring: () => this.#ring(),
      page: (after, limit) => disk.blocks.page(after, limit),
      isWanted: (key) => disk.blocks.isWanted(key),
      signal,
    });
    disk.blocks.onChange((key) => this.#summaries.changed(key));
    this.#tools = { ...tools, keepers, summaries: this.#summaries };
    this.#background = background;
    this.#now = now;
  }

  /** What this node and that one should both have, and this one has. */
  summaryFor(member: Member): Promise<Summary> {
    return this.#summaries.of(member.peerId);
  }

  /** All that decides who keeps what lies here. */
  #ring(): string {
    const now = this.#now();
    if (this.#seen === undefined || Math.abs(now - this.#seen.at) > seenForMs) {
      const near = this.#vicinity.others();
      const ring = near.map((member) => `${member.peerId}${this.#isLost(member) ? ' lost' : ''}`).join('\n');
      this.#seen = { at: now, ring };
    }
    return this.#seen.ring;
  }

  start(): void {
    this.#background.own(this.#periodically(), () => undefined);
  }

  onMembership({ kind, member }: MembershipChange): void {
    this.#seen = undefined;
    if (kind === 'woke') return this.#soonAll();
    if (kind === 'down') return void this.#downSince.set(member.peerId, this.#now());
    this.#downSince.delete(member.peerId);
    const before = this.#vicinity.includes(member);
    if (kind !== 'up') this.#vicinity.changed();
    // With the others this node shares nothing.
    if (!before && !this.#vicinity.includes(member)) return;
    if (kind === 'up') this.#soonFor(member);
    else this.#soonAll();
  }

  /** Walks over everything, hashing it. */
  runNow(): Promise<PassCount> {
    return this.#walk(undefined, true);
  }

  /**
   * Hands over to one member what it should hold; whether all of it has reached it. False after {@link handOverWaitMs}, while the walk goes on:
   * whoever asks again meanwhile waits for the same one, so that a member that keeps asking costs one walk at a time.
   */
  async handOver(member: Member): Promise<boolean> {
    const walk = this.#handingOver.get(member.peerId) ?? this.#startHandOver(member);
    const over = new AbortController();
    const waited = pause(handOverWaitMs, AbortSignal.any([this.#background.signal, over.signal]));
    const count = await Promise.race([walk, waited]).finally(() => over.abort());
    return count !== undefined && count.unreached === 0;
  }

  #startHandOver(member: Member): Promise<PassCount> {
    const walk = this.#walk(member, false).finally(() => this.#handingOver.delete(member.peerId));
    this.#handingOver.set(member.peerId, walk);
    this.#background.own(walk, () => undefined);
    return walk;
  }

  #walk(only: Member | undefined, verify: boolean): Promise<PassCount> {
    if (verify) this.#summaries.forget();
    const run = (): Promise<PassCount> => new RepairPass(this.#tools, { only, verify }).run();
    const walk = this.#walks.then(run, run);
    this.#walks = walk;
    return walk;
  }

  /** The k nearest to a key that are not lost; like every placement, the same at every node that sees the same members down. */
  #keepers(key: Uint8Array): Member[] {
    const { neighbours } = this.#tools;
    const { proper, spare } = neighbours.place(key);
    return [...proper, ...spare].filter((member) => !this.#isLost(member)).slice(0, neighbours.copies);
  }

  #isLost(member: Member): boolean {
    if (this.#tools.neighbours.isUp(member)) return false;
    const since = this.#downSince.get(member.peerId) ?? this.#now();
    this.#downSince.set(member.peerId, since);
    return this.#now() - since > lostAfterMs;
  }

  #soonFor(member: Member): void {
    if (this.#dueFor.has(member.peerId)) return;
    this.#dueFor.add(member.peerId);
    this.#later(restAfterUpMs, () => {
      this.#dueFor.delete(member.peerId);
      return this.#walk(member, false);
    });
  }

  #soonAll(): void {
    if (this.#dueAll) return;
    this.#dueAll = true;
    this.#later(restAfterChangeMs, () => {
      this.#dueAll = false;
      return this.#walk(undefined, false);
    });
  }

  #later(ms: number, work: () => Promise<unknown>): void {
    const { signal } = this.#background;
    const task = pause(ms, signal).then(() => (signal.aborted ? undefined : work()));
    this.#background.own(task, () => undefined);
  }

  async #periodically(): Promise<void> {
    const { signal } = this.#background;
    for (;;) {
      await pause(everyMs, signal);
      if (signal.aborted) return;
      this.#rounds++;
      await this.#walk(undefined, this.#rounds % verifyEvery === 0).catch(() => undefined);
    }
  }
}
