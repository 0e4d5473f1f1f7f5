/**
 * Per-lane concurrency over a queue that has no lanes: a job whose lane is full is parked (delayed, uncounted), and when a place becomes free one
 * parked job of that lane is called back. Parked jobs come back by themselves after a while, should their process die.
 * Concurrency is counted in this process; several gateways on one Redis each have their own.
 */
import type { LaneRule, Worker } from './queue.ts';

export interface Gate {
  readonly rule: LaneRule;
  readonly worker: Worker;
  running: number;
  stopped: boolean;
}

export interface Place {
  readonly gate: Gate;
  readonly lane: string;
}

/** Long enough that a deep lane is not shuffled all the time, short enough that a dead process's parked jobs are soon taken up. */
const parkedMs = 30_000;
/** Of a lane deeper than this, the rest comes back by time. */
const rememberedPerLane = 10_000;

export class LaneGate {
  readonly #gates: Gate[] = [];
  readonly #running = new Map<string, number>();
  readonly #parked = new Map<string, string[]>();
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  get concurrency(): number {
    return this.#gates.reduce((sum, { rule }) => sum + rule.concurrency, 0);
  }

  /** Returns the gate, and the parked jobs that may now have a worker. */
  open(rule: LaneRule, worker: Worker): { gate: Gate; callBack: string[] } {
    const gate: Gate = { rule, worker, running: 0, stopped: false };
    this.#gates.push(gate);
    const lanes = [...this.#parked.keys()].filter((lane) => rule.match(lane));
    const callBack = lanes.flatMap((lane) => this.#parked.get(lane) ?? []);
    for (const lane of lanes) this.#parked.delete(lane);
    return { gate, callBack };
  }

  close(gate: Gate): void {
    gate.stopped = true;
    const at = this.#gates.indexOf(gate);
    if (at >= 0) this.#gates.splice(at, 1);
  }

  /** A place in this lane, or undefined if it is full or nobody here works it. */
  enter(lane: string): Place | undefined {
    const gate = this.#gates.find(({ rule }) => rule.match(lane));
    if (gate === undefined || gate.running >= gate.rule.concurrency) return undefined;
    const running = this.#running.get(lane) ?? 0;
    if (running >= gate.rule.perLane) return undefined;
    gate.running += 1;
    this.#running.set(lane, running + 1);
    return { gate, lane };
  }

  /** Gives the place back; returns the parked jobs to call back for it: one of the lane, and one of another that the same worker's total held up. */
  leave({ gate, lane }: Place): string[] {
    gate.running -= 1;
    const running = (this.#running.get(lane) ?? 1) - 1;
    if (running === 0) this.#running.delete(lane);
    else this.#running.set(lane, running);
    const other = [...this.#parked.keys()].find((name) => name !== lane && this.#wouldEnter(gate, name));
    return [other, lane].flatMap((name) => this.#takeParked(name));
  }

  #wouldEnter(gate: Gate, lane: string): boolean {
    return gate.rule.match(lane) && (this.#running.get(lane) ?? 0) < gate.rule.perLane;
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
  park(lane: string, bullId: string): number {
    const ids = this.#parked.get(lane) ?? [];
    if (ids.length < rememberedPerLane) ids.push(bullId);
    this.#parked.set(lane, ids);
    return parkedMs * (0.5 + this.#random());
  }
}
