/** Names by time, the earliest first (a binary heap). An entry is never changed or taken out early: whoever pops it asks whether it still holds. */

export interface TimedName {
  readonly at: number;
  readonly name: string;
}

export class TimeHeap {
  readonly #heap: TimedName[] = [];

  get first(): TimedName | undefined {
    return this.#heap[0];
  }

  push(entry: TimedName): void {
    const heap = this.#heap;
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (heap[parent]!.at <= entry.at) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = entry;
  }

  pop(): TimedName | undefined {
    const heap = this.#heap;
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
