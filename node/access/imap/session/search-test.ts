import type { MessageEntry } from '../../../mail/folder.ts';
import type { Found } from '../../../mail/message-texts.ts';
import type { SearchKey } from '../command/search-keys.ts';
import { folded, isColumn } from '../message/search-texts.ts';
import { covers, normalRanges } from '../wire/sequence-set.ts';
import type { Candidate } from './search-candidate.ts';
import type { FolderView } from './view.ts';

/** A search key as a question to one message (RFC 3501 §6.4.4): */
export type Test = (Cheap | Costly) & {
  /** No message of the folder matches, whichever is asked. */
  readonly never?: boolean;
};

/** one that the index answers: nothing is made or waited for, as 100,000 messages may be asked; */
interface Cheap {
  readonly costly: false;
  readonly matches: (entry: MessageEntry, sequence: number) => boolean;
}

/** or one for which a message may have to be read. */
interface Costly {
  readonly costly: true;
  readonly matches: (candidate: Candidate) => boolean | Promise<boolean>;
}

const isCheap = (test: Test): test is Test & Cheap => !test.costly;
const isCostly = (test: Test): test is Test & Costly => test.costly;

function cheap(matches: Cheap['matches']): Cheap {
  return { costly: false, matches };
}

export function tester(key: SearchKey, view: FolderView): Test {
  switch (key.kind) {
    case 'all':
      return cheap(() => true);
    case 'flag':
      return flagTest(key, view);
    case 'messages':
      return setTest(key, view);
    case 'received':
      return cheap(({ internalDate }) => within(dayOf(internalDate), key));
    case 'size':
      return cheap(({ size }) => size > (key.larger ?? -1) && size < (key.smaller ?? Number.POSITIVE_INFINITY));
    case 'modseq':
      return cheap(({ modseq }) => modseq >= key.from);
    case 'emailid':
      return cheap(({ emailId }) => emailId === key.id);
    case 'sent':
      return sentTest(key, view);
    case 'header':
      return headerTest(key, view);
    case 'body':
    case 'text': {
      const wanted = folded(key.text);
      return { costly: true, matches: async (candidate) => await candidate.hasText(wanted, key.kind === 'text') };
    }
    case 'not':
      return negated(tester(key.key, view));
    default:
      return combined(key, view);
  }
}

function negated(test: Test): Test {
  if (isCheap(test)) return cheap((entry, sequence) => !test.matches(entry, sequence));
  return {
    costly: true,
    matches: (candidate) => {
      const answer = test.matches(candidate);
      return typeof answer === 'boolean' ? !answer : answer.then((matches) => !matches);
    },
  };
}

function headerTest({ field, text }: Extract<SearchKey, { kind: 'header' }>, view: FolderView): Costly {
  const wanted = folded(text);
  const ask = (candidate: Candidate): boolean | Promise<boolean> => candidate.hasHeader(field, wanted);
  if (!isColumn(field)) return { costly: true, matches: ask };
  return keptFirst(() => view.folder.findTexts(field, wanted), ask);
}

function sentTest(key: Extract<SearchKey, { kind: 'received' | 'sent' }>, view: FolderView): Costly {
  const matches = (day: number | undefined): boolean => within(day, key);
  return keptFirst(
    () => view.folder.findTexts('sent', (day) => matches(Number(day))),
    (candidate) => {
      const day = candidate.sent();
      return day instanceof Promise ? day.then(matches) : matches(day);
    },
  );
}

/** Looks once at what is kept of all messages, when the first one is asked about; only those of which nothing is kept are asked themselves. */
function keptFirst(find: () => Promise<Found>, ask: Costly['matches']): Costly {
  let found: Found | undefined;
  const matches = (candidate: Candidate): boolean | Promise<boolean> => {
    if (found !== undefined) return found(candidate.message.entry.contentKey) ?? ask(candidate);
    return find().then((all) => {
      found = all;
      return matches(candidate);
    });
  };
  return { costly: true, matches };
}

function combined(key: Extract<SearchKey, { kind: 'and' | 'or' }>, view: FolderView): Test {
  const tests = key.keys.map((inner) => tester(inner, view));
  const stopsAt = key.kind === 'or';
  const first = tests.filter(isCheap);
  const decided = (entry: MessageEntry, sequence: number): boolean =>
    first.some((test) => test.matches(entry, sequence) === stopsAt);
  const later = tests.filter(isCostly);
  const never = stopsAt ? tests.every((test) => test.never === true) : tests.some((test) => test.never === true);
  if (later.length === 0)
    return { ...cheap((entry, sequence) => (decided(entry, sequence) ? stopsAt : !stopsAt)), never };
  const asked = (candidate: Candidate, from: number): boolean | Promise<boolean> => {
    for (let index = from; index < later.length; index += 1) {
      const answer = later[index]!.matches(candidate);
      if (typeof answer !== 'boolean')
        return answer.then((matches) => (matches === stopsAt ? stopsAt : asked(candidate, index + 1)));
      if (answer === stopsAt) return stopsAt;
    }
    return !stopsAt;
  };
  return {
    costly: true,
    never,
    matches: (candidate) => {
      const { entry, sequence } = candidate.message;
      return decided(entry, sequence) ? stopsAt : asked(candidate, 0);
    },
  };
}

/** Messages with the same flags share one list of them, and most have the same as the one before. */
function flagTest({ flag, set }: Extract<SearchKey, { kind: 'flag' }>, view: FolderView): Test {
  const wanted = flag.toLowerCase();
  const matching = (flags: readonly string[]): boolean => flags.some((one) => one.toLowerCase() === wanted) === set;
  let last: readonly string[] | undefined;
  let matches = false;
  const test = cheap(({ flags }) => {
    if (flags !== last) {
      last = flags;
      matches = matching(flags);
    }
    return matches;
  });
  // What nearly all searches for unseen or deleted messages of a large folder find, and what need not be asked of each.
  return { ...test, never: view.current && !view.folder.flagLists().some(matching) };
}

function setTest({ by, set }: Extract<SearchKey, { kind: 'messages' }>, view: FolderView): Cheap {
  if (set === 'saved') {
    const saved = new Set(view.saved);
    return cheap(({ uid }) => saved.has(uid));
  }
  // RFC 3501 §6.4.4 has no error for a number that is not there: it is simply not found.
  const ranges = normalRanges(set, by === 'uid' ? (view.all().at(-1)?.uid ?? 0) : view.count);
  return cheap(({ uid }, sequence) => covers(ranges, by === 'uid' ? uid : sequence));
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
