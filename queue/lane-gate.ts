/**
 * Per-lane concurrency, pace and pauses over a queue that has no lanes: a job whose lane is full is parked (delayed, uncounted), and when a place becomes
 * free one parked job of that lane is called back. Parked jobs come back by themselves after a while, should their process die.
 * Concurrency is counted in this process; several gateways on one Redis each have their own.
 */
import { weightOf } from './job-limits.ts';
import type { JobAbout, LaneRule, Worker } from './queue.ts';

export interface Gate {
  readonly rule: LaneRule;
  readonly worker: Worker;
  running: number;
  bytes: number;
  /** Of each group of lanes. */
  readonly groups: Map<string, number>;
  stopped: boolean;
}

/** What is asked about a job that wants a place. */
export interface Entering {
  readonly lane: string;
  readonly about: JobAbout;
  readonly bodyBytes: number;
}

export interface Place {
  readonly gate: Gate;
  readonly lane: string;
  readonly group: string;
  readonly bytes: number;
}

/** Long enough that a deep lane is not shuffled all the time, short enough that a dead process's parked jobs are soon taken up. */
const parkedMs = 30_000;
/** Nothing calls a paused job back but the end of the pause. */
const parkedInPauseMs = 300_000;
/** Of a lane deeper than this, the rest comes back by time. */
const rememberedPerLane = 10_000;

export class LaneGate {
  readonly #gates: Gate[] = [];
  readonly #running = new Map<string, number>();
  readonly #parked = new Map<string, string[]>();
  readonly #random: () => number;
  readonly #isPaused: (lane: string) => boolean;

  constructor(random: () => number, isPaused: (lane: string) => boolean) {
    this.#random = random;
    this.#isPaused = isPaused;
  }

  get concurrency(): number {
    return this.#gates.reduce((sum, { rule }) => sum + rule.concurrency, 0);
  }

  /** Returns the gate, and the parked jobs that may now have a worker. */
  open(rule: LaneRule, worker: Worker): { gate: Gate; callBack: string[] } {
    const gate: Gate = { rule, worker, running: 0, bytes: 0, groups: new Map(), stopped: false };
    this.#gates.push(gate);
    return { gate, callBack: this.#takeAll((lane) => rule.match(lane)) };
  }

  /** The parked jobs that need not wait for a pause any longer. */
  pausesChanged(): string[] {
    return this.#takeAll((lane) => !this.#isPaused(lane));
  }

  #takeAll(which: (lane: string) => boolean): string[] {
    const lanes = [...this.#parked.keys()].filter(which);
    const ids = lanes.flatMap((lane) => this.#parked.get(lane) ?? []);
    for (const lane of lanes) this.#parked.delete(lane);
    return ids;
  }

  close(gate: Gate): void {
    gate.stopped = true;
    const at = this.#gates.indexOf(gate);
    if (at >= 0) this.#gates.splice(at, 1);
  }

  /** A place in the job's lane, or undefined if it is full, resting, paused, or nobody here works it. */
  enter({ lane, about, bodyBytes }: Entering, now: number): Place | undefined {
    const gate = this.#gates.find(({ rule }) => rule.match(lane));
    if (gate === undefined || gate.running >= gate.rule.concurrency || !this.#mayEnter(gate, lane, now))
      return undefined;
    const bytes = weightOf(gate.rule, about, bodyBytes);
    if (gate.bytes > 0 && gate.bytes + bytes > (gate.rule.maxBytes ?? Number.POSITIVE_INFINITY)) return undefined;
    const group = gate.rule.pace?.group(lane) ?? lane;
    gate.running += 1;
    gate.bytes += bytes;
    gate.groups.set(group, (gate.groups.get(group) ?? 0) + 1);
    this.#running.set(lane, (this.#running.get(lane) ?? 0) + 1);
    return { gate, lane, group, bytes };
  }

  #mayEnter(gate: Gate, lane: string, now: number): boolean {
    const { rule, groups } = gate;
    if (!rule.match(lane) || this.#isPaused(lane) || (this.#running.get(lane) ?? 0) >= rule.perLane) return false;
    if (rule.pace === undefined) return true;
    const group = rule.pace.group(lane);
    const places = Math.max(1, rule.pace.places(group));
    return (groups.get(group) ?? 0) < places && rule.pace.notBefore(group, now) <= now;
  }

  /** Gives the place back; returns the parked jobs to call back for it: one of the lane, and one of another that was held up by the worker's total or the group's. */
  leave({ gate, lane, group, bytes }: Place, now: number): string[] {
    gate.running -= 1;
    gate.bytes -= bytes;
    lower(this.#running, lane);
    lower(gate.groups, group);
    const other = [...this.#parked.keys()].find((name) => name !== lane && this.#mayEnter(gate, name, now));
    return [other, lane].flatMap((name) => this.#takeParked(name));
  }

  #takeParked(lane: string | undefined): string[] {
    const ids = lane === undefined ? undefined : this.#parked.get(lane);
    const id = ids?.shift();
    if (lane === undefined || ids === undefined || id === undefined) return [];
    this.#parked.delete(lane);
    // At the end of the map: lanes take turns.
    if (ids.length > 0) this.#parked.set(lane, ids);
    return [id];
  }

  /** Remembers a job that found no place; returns for how long to park it. */
  park(lane: string, bullId: string, now: number): number {
    const ids = this.#parked.get(lane) ?? [];
    if (ids.length < rememberedPerLane) ids.push(bullId);
    this.#parked.set(lane, ids);
    const chance = 0.5 + this.#random();
    if (this.#isPaused(lane)) return parkedInPauseMs * chance;
    const pace = this.#gates.find(({ rule }) => rule.match(lane))?.rule.pace;
    const restMs = pace === undefined ? 0 : pace.notBefore(pace.group(lane), now) - now;
    return restMs > 0 ? Math.min(restMs, parkedInPauseMs) + 200 * chance : parkedMs * chance;
  }
}

function lower(counts: Map<string, number>, name: string): void {
  const left = (counts.get(name) ?? 1) - 1;
  if (left === 0) counts.delete(name);
  else counts.set(name, left);
}
