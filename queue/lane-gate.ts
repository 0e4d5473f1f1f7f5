/**
 * Per-lane concurrency, pace and pauses over a queue that has no lanes: a job whose lane is full is parked (bullmq-parking.ts), and when a place becomes
 * free one parked job of that lane is called back. Concurrency is counted in this process; several gateways on one Redis each have their own.
 */
import type { FullLane } from './bullmq-parking.ts';
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
/** Lanes that are swept aside together. */
const sweptTogether = 50;

export class LaneGate {
  readonly #gates: Gate[] = [];
  readonly #running = new Map<string, number>();
  /** Lanes of which this process knows that jobs are parked, and how often some were; those whose turn was last come last. */
  readonly #parked = new Map<string, number>();
  readonly #random: () => number;
  readonly #isPaused: (lane: string) => boolean;

  constructor(random: () => number, isPaused: (lane: string) => boolean) {
    this.#random = random;
    this.#isPaused = isPaused;
  }

  get concurrency(): number {
    return this.#gates.reduce((sum, { rule }) => sum + rule.concurrency, 0);
  }

  /** Returns the gate, and the lanes with parked jobs that may now have a worker. */
  open(rule: LaneRule, worker: Worker): { gate: Gate; callBack: string[] } {
    const gate: Gate = { rule, worker, running: 0, bytes: 0, groups: new Map(), stopped: false };
    this.#gates.push(gate);
    return { gate, callBack: this.#takeAll((lane) => rule.match(lane)) };
  }

  /** The lanes whose parked jobs need not wait for a pause any longer. */
  pausesChanged(): string[] {
    return this.#takeAll((lane) => !this.#isPaused(lane));
  }

  #takeAll(which: (lane: string) => boolean): string[] {
    const lanes = [...this.#parked.keys()].filter(which);
    for (const lane of lanes) this.#parked.delete(lane);
    return lanes;
  }

  close(gate: Gate): void {
    gate.stopped = true;
    const at = this.#gates.indexOf(gate);
    if (at >= 0) this.#gates.splice(at, 1);
  }

  /** A place in the job's lane, or undefined if it is full, resting, paused, or nobody here works it. */
  enter(entering: Entering, now: number): Place | undefined {
    const gate = this.#gateFor(entering, now);
    if (gate === undefined) return undefined;
    const { lane, about, bodyBytes } = entering;
    const bytes = weightOf(gate.rule, about, bodyBytes);
    const group = gate.rule.pace?.group(lane) ?? lane;
    gate.running += 1;
    gate.bytes += bytes;
    gate.groups.set(group, (gate.groups.get(group) ?? 0) + 1);
    this.#running.set(lane, (this.#running.get(lane) ?? 0) + 1);
    return { gate, lane, group, bytes };
  }

  wouldEnter(entering: Entering, now: number): boolean {
    return this.#gateFor(entering, now) !== undefined;
  }

  #gateFor({ lane, about, bodyBytes }: Entering, now: number): Gate | undefined {
    const gate = this.#gates.find(({ rule }) => rule.match(lane));
    if (gate === undefined || !this.#mayEnter(gate, lane, now)) return undefined;
    const bytes = weightOf(gate.rule, about, bodyBytes);
    return gate.bytes > 0 && gate.bytes + bytes > (gate.rule.maxBytes ?? Number.POSITIVE_INFINITY) ? undefined : gate;
  }

  #mayEnter(gate: Gate, lane: string, now: number): boolean {
    const { rule, groups } = gate;
    if (gate.running >= rule.concurrency || !rule.match(lane)) return false;
    if (this.#isPaused(lane) || (this.#running.get(lane) ?? 0) >= rule.perLane) return false;
    if (rule.pace === undefined) return true;
    const group = rule.pace.group(lane);
    const places = Math.max(1, rule.pace.places(group));
    return (groups.get(group) ?? 0) < places && rule.pace.notBefore(group, now) <= now;
  }

  /** Gives the place back. */
  leave({ gate, lane, group, bytes }: Place): void {
    gate.running -= 1;
    gate.bytes -= bytes;
    lower(this.#running, lane);
    lower(gate.groups, group);
  }

  /** A lane, not this one, of which a parked job was held up by the worker's total or the group's and is no longer. Lanes take turns. */
  nextOther(lane: string, now: number): string | undefined {
    for (const [name, times] of this.#parked) {
      if (name === lane || !this.hasPlace(name, now)) continue;
      this.#parked.delete(name);
      this.#parked.set(name, times);
      return name;
    }
    return undefined;
  }

  /** For how long to park a job of this lane that found no place. */
  parkingMs(lane: string, now: number): number {
    const { leastMs, mostMs } = this.#parking(lane, now);
    return leastMs + this.#random() * (mostMs - leastMs);
  }

  /** Jobs of these lanes were parked. */
  parked(lanes: readonly string[]): void {
    for (const lane of lanes) this.#parked.set(lane, (this.#parked.get(lane) ?? 0) + 1);
  }

  /** How often jobs of this lane were parked since it was known that none are; undefined where none are known. */
  timesParked(lane: string): number | undefined {
    return this.#parked.get(lane);
  }

  /** There was nothing parked in this lane when it had been `times` times. */
  nothingParked(lane: string, times: number): void {
    if (this.#parked.get(lane) === times) this.#parked.delete(lane);
  }

  /**
   * Some of the lanes in which nobody gets a place now, that of the job which found none among them. Of a thousand that are swept aside few will have a
   * place when a rest is over, and those are called back: so they are spread over a while.
   */
  full(lane: string, now: number): FullLane[] {
    const others = [...this.#parked.keys()].filter((name) => name !== lane && !this.hasPlace(name, now));
    return [lane, ...others.slice(0, sweptTogether - 1)].map((name) => {
      const { leastMs, mostMs } = this.#parking(name, now);
      return { lane: name, leastMs, mostMs: Math.max(mostMs, leastMs + parkedMs) };
    });
  }

  /** As far as the job's size is not what matters. */
  hasPlace(lane: string, now: number): boolean {
    const gate = this.#gates.find(({ rule }) => rule.match(lane));
    return gate !== undefined && this.#mayEnter(gate, lane, now);
  }

  #parking(lane: string, now: number): Omit<FullLane, 'lane'> {
    const pace = this.#gates.find(({ rule }) => rule.match(lane))?.rule.pace;
    const restMs = pace === undefined ? 0 : pace.notBefore(pace.group(lane), now) - now;
    if (!this.#isPaused(lane) && restMs > 0) {
      const leastMs = Math.min(restMs, parkedInPauseMs) + 100;
      return { leastMs, mostMs: leastMs + 200 };
    }
    const ms = this.#isPaused(lane) ? parkedInPauseMs : parkedMs;
    return { leastMs: ms / 2, mostMs: ms * 1.5 };
  }
}

function lower(counts: Map<string, number>, name: string): void {
  const left = (counts.get(name) ?? 1) - 1;
  if (left === 0) counts.delete(name);
  else counts.set(name, left);
}
