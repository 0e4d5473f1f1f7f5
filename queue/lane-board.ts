/**
 * Which lane is next. Keeps for each lane the due time of its oldest job and how many attempts run in it, and for each group of lanes how many run in
 * all of it; groups take turns, and so do the lanes of one. Pure state: no clock, no timer. Cost per turn does not depend on how many jobs wait, only
 * logarithmically on how many lanes do.
 */
import type { LanePace, LaneRule } from './queue.ts';
import { TimeHeap } from './time-heap.ts';

interface Lane {
  headAt: number | undefined;
  running: number;
  group: string;
  /** The time under which it lies in the heap, so that it lies there once. */
  waitsFor?: number | undefined;
}

interface Group {
  running: number;
  /** Lanes with a job that is due and a free place in the lane, in the order of their turns (a Set keeps insertion order). */
  readonly ready: Set<string>;
  restsUntil?: number | undefined;
}

/** A place taken: to be given back. */
export interface Taken {
  readonly lane: string;
  readonly group: string;
}

export interface BoardRule extends Pick<LaneRule, 'perLane'> {
  readonly pace?: LanePace | undefined;
  readonly isPaused?: (lane: string) => boolean;
}

export class LaneBoard {
  readonly #rule: BoardRule;
  readonly #lanes = new Map<string, Lane>();
  readonly #groups = new Map<string, Group>();
  /** Groups with a ready lane and a free place, in the order of their turns. */
  readonly #turns = new Set<string>();
  readonly #waitingLanes = new TimeHeap();
  readonly #restingGroups = new TimeHeap();

  constructor(rule: BoardRule) {
    this.#rule = rule;
  }

  /** The lane's oldest job is due at `at`, or it has none. */
  setHead(name: string, at: number | undefined, now: number): void {
    const lane = this.#lanes.get(name) ?? { headAt: undefined, running: 0, group: this.#groupOf(name) };
    lane.headAt = at;
    this.#lanes.set(name, lane);
    this.#place(name, lane, now);
  }

  /** The lane whose turn it is, one place in it taken; undefined if none can start now. */
  take(now: number): Taken | undefined {
    this.#promote(now);
    for (const group of this.#turns) {
      const name = this.#takeIn(group, now);
      if (name !== undefined) return { lane: name, group };
    }
    return undefined;
  }

  /** A place for a job of this lane that is about to come and is due, where nobody waits whose turn it would be. */
  takeAhead(name: string, now: number): Taken | undefined {
    this.#promote(now);
    const lane = this.#lanes.get(name) ?? { headAt: undefined, running: 0, group: this.#groupOf(name) };
    const hasOlder = lane.headAt !== undefined && lane.headAt <= now;
    if (this.#turns.size > 0 || hasOlder || lane.running >= this.#rule.perLane) return undefined;
    if (this.#rule.isPaused?.(name) === true) return undefined;
    const groupName = this.#groupOf(name);
    const group: Group = this.#groups.get(groupName) ?? { running: 0, ready: new Set() };
    if (!this.#mayStart(groupName, group, now)) return undefined;
    this.#groups.set(groupName, group);
    this.#lanes.set(name, lane);
    lane.running += 1;
    group.running += 1;
    return { lane: name, group: groupName };
  }

  #takeIn(groupName: string, now: number): string | undefined {
    this.#turns.delete(groupName);
    const group = this.#groups.get(groupName);
    // What the pace says may have changed since.
    if (group === undefined || !this.#mayStart(groupName, group, now)) return undefined;
    const [name] = group.ready;
    const lane = name === undefined ? undefined : this.#lanes.get(name);
    if (name === undefined || lane === undefined) return undefined;
    group.ready.delete(name);
    lane.running += 1;
    group.running += 1;
    this.#place(name, lane, now);
    this.#placeGroup(groupName, now);
    return name;
  }

  /** An attempt ended. */
  free({ lane: name, group: groupName }: Taken, now: number): void {
    const group = this.#groups.get(groupName);
    if (group !== undefined) group.running -= 1;
    const lane = this.#lanes.get(name);
    if (lane !== undefined) {
      lane.running -= 1;
      this.#place(name, lane, now);
    }
    this.#placeGroup(groupName, now);
  }

  /** Every lane is looked at anew: what is paused changed. */
  again(now: number): void {
    for (const [name, lane] of this.#lanes) this.#place(name, lane, now);
  }

  /** When to look again; undefined if nothing waits for a time. It may turn out that there is nothing to take yet. */
  nextAt(): number | undefined {
    const [lane, group] = [this.#waitingLanes.first?.at, this.#restingGroups.first?.at];
    return lane === undefined || group === undefined ? (lane ?? group) : Math.min(lane, group);
  }

  #groupOf(lane: string): string {
    return this.#rule.pace?.group(lane) ?? lane;
  }

  #place(name: string, lane: Lane, now: number): void {
    const group = this.#groupOf(name);
    if (lane.group !== group) {
      this.#unready(name, lane.group);
      lane.group = group;
    }
    if (lane.headAt === undefined) {
      this.#unready(name, group);
      if (lane.running === 0) this.#lanes.delete(name);
    } else if (lane.headAt > now) {
      this.#unready(name, group);
      if (lane.waitsFor !== undefined && lane.waitsFor <= lane.headAt) return;
      lane.waitsFor = lane.headAt;
      this.#waitingLanes.push({ at: lane.headAt, name });
    } else if (lane.running < this.#rule.perLane && this.#rule.isPaused?.(name) !== true) {
      this.#ready(name, group, now);
    } else this.#unready(name, group);
  }

  #ready(name: string, groupName: string, now: number): void {
    const group: Group = this.#groups.get(groupName) ?? { running: 0, ready: new Set() };
    this.#groups.set(groupName, group);
    group.ready.add(name);
    this.#placeGroup(groupName, now);
  }

  #unready(name: string, groupName: string): void {
    const group = this.#groups.get(groupName);
    group?.ready.delete(name);
    if (group?.ready.size !== 0) return;
    this.#turns.delete(groupName);
    if (group.running === 0) this.#groups.delete(groupName);
  }

  #placeGroup(name: string, now: number): void {
    const group = this.#groups.get(name);
    if (group === undefined) return;
    if (group.ready.size === 0) {
      this.#turns.delete(name);
      if (group.running === 0) this.#groups.delete(name);
    } else if (this.#mayStart(name, group, now)) this.#turns.add(name);
    else this.#turns.delete(name);
  }

  /** Where it is only a question of time, the group is looked at again then. */
  #mayStart(name: string, group: Group, now: number): boolean {
    const { pace } = this.#rule;
    if (pace === undefined) return true;
    if (group.running >= Math.max(1, pace.places(name))) return false;
    const at = pace.notBefore(name, now);
    if (at <= now) return true;
    if (group.restsUntil !== undefined && group.restsUntil <= at) return false;
    group.restsUntil = at;
    this.#restingGroups.push({ at, name });
    return false;
  }

  /** What was put into the heaps too early is put in again with its time. */
  #promote(now: number): void {
    while ((this.#waitingLanes.first?.at ?? Number.POSITIVE_INFINITY) <= now) {
      const { name = '', at } = this.#waitingLanes.pop() ?? {};
      const lane = this.#lanes.get(name);
      if (lane === undefined || lane.waitsFor !== at) continue;
      lane.waitsFor = undefined;
      this.#place(name, lane, now);
    }
    while ((this.#restingGroups.first?.at ?? Number.POSITIVE_INFINITY) <= now) {
      const { name = '', at } = this.#restingGroups.pop() ?? {};
      const group = this.#groups.get(name);
      if (group === undefined || group.restsUntil !== at) continue;
      group.restsUntil = undefined;
      this.#placeGroup(name, now);
    }
  }
}
