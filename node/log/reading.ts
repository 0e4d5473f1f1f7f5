import { type BlockSource, getContent } from '../store/content.ts';
import { decodeGroup, decodeNode, type Entry, type LogState } from './log-state.ts';

export interface Numbered {
  readonly seq: number;
  readonly record: Uint8Array;
}

interface Loaded {
  readonly entry: Entry;
  readonly records: readonly Uint8Array[];
}

// Groups fetched before they are asked for: replay of a long log is bound by the round trip otherwise.
const groupsAhead = 8;

/** The groups that hold records from number `from` on, in order. */
async function* groups(
  source: BlockSource,
  entries: readonly Entry[],
  level: number,
  from: number,
): AsyncGenerator<Entry> {
  for (const entry of entries) {
    if (entry.first + entry.count <= from) continue;
    if (level === 0) yield entry;
    else yield* groups(source, decodeNode(await getContent(source, entry.ref), entry), level - 1, from);
  }
}

async function* allGroups(source: BlockSource, { levels }: LogState, from: number): AsyncGenerator<Entry> {
  for (let level = levels.length - 1; level >= 0; level--) yield* groups(source, levels[level] ?? [], level, from);
}

async function load(source: BlockSource, entry: Entry): Promise<Loaded> {
  return { entry, records: decodeGroup(await getContent(source, entry.ref), entry.count) };
}

/** The records of a state from number `from` on. Throws what the source throws, and LogFault `damaged`. */
export async function* readRecords(source: BlockSource, state: LogState, from: number): AsyncGenerator<Numbered> {
  const ahead: Promise<Loaded>[] = [];
  try {
    for await (const entry of allGroups(source, state, from)) {
      const loading = load(source, entry);
      loading.catch(() => undefined); // Met when its turn comes, or by allSettled when the reader leaves first.
      ahead.push(loading);
      if (ahead.length >= groupsAhead) yield* numbered(await ahead.shift(), from);
    }
    while (ahead.length > 0) yield* numbered(await ahead.shift(), from);
  } finally {
    await Promise.allSettled(ahead);
  }
  const recentFirst = state.length - state.recent.length;
  for (const [index, record] of state.recent.entries())
    if (recentFirst + index >= from) yield { seq: recentFirst + index, record };
}

function* numbered(loaded: Loaded | undefined, from: number): Generator<Numbered> {
  for (const [index, record] of (loaded?.records ?? []).entries()) {
    const seq = (loaded?.entry.first ?? 0) + index;
    if (seq >= from) yield { seq, record };
  }
}
