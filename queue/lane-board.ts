/**
 * Which lane is next. Keeps for each lane the due time of its oldest job and how many attempts run in it; lanes take turns.
 * Pure state: no clock, no timer. Cost per turn does not depend on how many jobs wait, only logarithmically on how many lanes do.
 */

interface Lane {
  headAt: number | undefined;
  running: number;
}

export class LaneBoard {
  readonly #perLane: number;
  readonly #lanes = new Map<string, Lane>();
  /** Lanes with a job that is due and a free place, in the order of their turns (a Set keeps insertion order). */
  readonly #ready = new Set<string>();
  /** Binary heap of lanes that wait for a time; an entry that no longer agrees with its lane is skipped. */
  readonly #waiting: { at: number; lane: string }[] = [];

  constructor(perLane: number) {
    this.#perLane = perLane;
  }

  /** A job of this lane is due at `at`; earlier ones may be known. */
  offer(name: string, at: number, now: number): void {
    const head = this.#lanes.get(name)?.headAt;
    if (head === undefined || at < head) this.setHead(name, at, now);
  }

  /** The lane's oldest job is due at `at`, or it has none. */
  setHead(name: string, at: number | undefined, now: number): void {
    const lane = this.#lanes.get(name) ?? { headAt: undefined, running: 0 };
    lane.headAt = at;
    this.#lanes.set(name, lane);
    this.#place(name, lane, now);
  }

  /** The lane whose turn it is, one place in it taken; undefined if none can start now. */
  take(now: number): string | undefined {
    this.#promote(now);
    const [name] = this.#ready;
    if (name === undefined) return undefined;
    const lane = this.#lanes.get(name);
    this.#ready.delete(name);
    if (lane === undefined) return undefined;
    lane.running += 1;
    this.#place(name, lane, now);
    return name;
  }

  /** An attempt in this lane ended. */
  free(name: string, now: number): void {
    const lane = this.#lanes.get(name);
    if (lane === undefined) return;
    lane.running -= 1;
    this.#place(name, lane, now);
  }

  /** When a lane that waits becomes due; undefined if none does. */
  nextAt(): number | undefined {
    for (let top = this.#waiting[0]; top !== undefined; top = this.#waiting[0]) {
      if (this.#lanes.get(top.lane)?.headAt === top.at && !this.#ready.has(top.lane)) return top.at;
      this.#pop();
    }
    return undefined;
  }

  #place(name: string, lane: Lane, now: number): void {
    if (lane.headAt === undefined) {
      this.#ready.delete(name);
      if (lane.running === 0) this.#lanes.delete(name);
    } else if (lane.headAt > now) {
      this.#ready.delete(name);
      this.#push({ at: lane.headAt, lane: name });
    } else if (lane.running < this.#perLane) this.#ready.add(name);
    else this.#ready.delete(name);
  }

  #promote(now: number): void {
    for (let at = this.nextAt(); at !== undefined && at <= now; at = this.nextAt()) {
      const name = this.#pop()?.lane;
      const lane = name === undefined ? undefined : this.#lanes.get(name);
      if (name !== undefined && lane !== undefined && lane.running < this.#perLane) this.#ready.add(name);
    }
  }

  #push(entry: { at: number; lane: string }): void {
    const heap = this.#waiting;
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (heap[parent]!.at <= entry.at) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = entry;
  }

  #pop(): { at: number; lane: string } | undefined {
    const heap = this.#waiting;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child += 1;
      if (heap[child]!.at >= last.at) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}
