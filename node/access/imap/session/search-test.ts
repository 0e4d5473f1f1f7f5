import type { MessageEntry } from '../../../mail/folder.ts';
import type { SearchKey } from '../command/search-keys.ts';
import { normalRanges } from '../wire/sequence-set.ts';
import { type Candidate, folded } from './search-candidate.ts';
import type { FolderView, Numbered } from './view.ts';

/** A search key as a question to one message (RFC 3501 §6.4.4). */
export interface Test {
  /** Whether the message itself must be read to know. */
  readonly costly: boolean;
  readonly matches: (candidate: Candidate) => boolean | Promise<boolean>;
}

/** One that the index answers: nothing is waited for, as 100,000 messages may be asked. */
interface Cheap extends Test {
  readonly costly: false;
  readonly matches: (candidate: Candidate) => boolean;
}

const isCheap = (test: Test): test is Cheap => !test.costly;

function cheap(matches: (message: Numbered) => boolean): Cheap {
  return { costly: false, matches: ({ message }) => matches(message) };
}

export function tester(key: SearchKey, view: FolderView): Test {
  switch (key.kind) {
    case 'all':
      return cheap(() => true);
    case 'flag':
      return flagTest(key);
    case 'messages':
      return setTest(key, view);
    case 'received':
      return cheap(({ entry }) => within(dayOf(entry.internalDate), key));
    case 'size':
      return cheap(
        ({ entry: { size } }) => size > (key.larger ?? -1) && size < (key.smaller ?? Number.POSITIVE_INFINITY),
      );
    case 'modseq':
      return cheap(({ entry }) => entry.modseq >= key.from);
    case 'emailid':
      return cheap(({ entry }) => entry.emailId === key.id);
    case 'sent':
      return { costly: true, matches: async (candidate) => within(await candidate.sent(), key) };
    case 'header': {
      const wanted = folded(key.text);
      return { costly: true, matches: (candidate) => candidate.hasHeader(key.field, wanted) };
    }
    case 'body':
    case 'text': {
      const wanted = folded(key.text);
      return { costly: true, matches: async (candidate) => await candidate.hasText(wanted, key.kind === 'text') };
    }
    case 'not': {
      const test = tester(key.key, view);
      return isCheap(test)
        ? { costly: false, matches: (candidate) => !test.matches(candidate) }
        : { costly: true, matches: async (candidate) => !(await test.matches(candidate)) };
    }
    default:
      return combined(key, view);
  }
}

function combined(key: Extract<SearchKey, { kind: 'and' | 'or' }>, view: FolderView): Test {
  const tests = key.keys.map((inner) => tester(inner, view));
  const stopsAt = key.kind === 'or';
  const first = tests.filter(isCheap);
  const decided = (candidate: Candidate): boolean => first.some((test) => test.matches(candidate) === stopsAt);
  const later = tests.filter(({ costly }) => costly);
  if (later.length === 0) return { costly: false, matches: (candidate) => (decided(candidate) ? stopsAt : !stopsAt) };
  const asked = async (candidate: Candidate): Promise<boolean> => {
    for (const test of later) if ((await test.matches(candidate)) === stopsAt) return stopsAt;
    return !stopsAt;
  };
  return { costly: true, matches: (candidate) => (decided(candidate) ? stopsAt : asked(candidate)) };
}

function flagTest({ flag, set }: Extract<SearchKey, { kind: 'flag' }>): Test {
  const wanted = flag.toLowerCase();
  return cheap(({ entry }) => entry.flags.some((one) => one.toLowerCase() === wanted) === set);
}

function setTest({ by, set }: Extract<SearchKey, { kind: 'messages' }>, view: FolderView): Test {
  if (set === 'saved') {
    const saved = new Set(view.saved);
    return cheap(({ entry }) => saved.has(entry.uid));
  }
  // RFC 3501 §6.4.4 has no error for a number that is not there: it is simply not found.
  const ranges = normalRanges(set, by === 'uid' ? (view.all().at(-1)?.uid ?? 0) : view.count);
  return cheap(({ sequence, entry }) => {
    const number = by === 'uid' ? entry.uid : sequence;
    return ranges.some(({ from, to }) => number >= from && number <= to);
  });
}

function within(
  at: number | undefined,
  { from, before }: { from: number | undefined; before: number | undefined },
): boolean {
  return at !== undefined && at >= (from ?? Number.NEGATIVE_INFINITY) && at < (before ?? Number.POSITIVE_INFINITY);
}

const dayMs = 86_400_000;

/** RFC 3501 §6.4.4: times and zones are disregarded; we show every INTERNALDATE in UTC, so its day is the UTC day. */
function dayOf(entryDate: MessageEntry['internalDate']): number {
  return Math.floor(entryDate / dayMs) * dayMs;
}
