import { MailFault } from '../../../mail/fault.ts';
import type { MessageEntry } from '../../../mail/folder.ts';
import { fieldValue } from '../../header/fields.ts';
import type { Command } from '../command/command.ts';
import type { SearchKey } from '../command/search-keys.ts';
import { decodeWords, readableTexts } from '../message/decoded-text.ts';
import { type Part, parseStructure } from '../message/structure.ts';
import { normalRanges } from '../wire/sequence-set.ts';
import { bad, type Completion, no, ok, type Selected, type Session } from './session.ts';
import { Turns } from './turns.ts';
import type { FolderView, Numbered } from './view.ts';

/** SEARCH (RFC 3501 §6.4.4). Keys that the index answers are tried before any that need the message itself. */

export async function search(
  session: Session,
  { view }: Selected,
  { by, program }: Extract<Command, { name: 'search' }>,
): Promise<Completion> {
  const { charset } = program;
  if (charset !== undefined && charset !== 'UTF-8' && charset !== 'US-ASCII') {
    return no('only UTF-8 and US-ASCII are understood', 'BADCHARSET (US-ASCII UTF-8)');
  }
  const test = tester(program.key, view);
  if (test === undefined) return bad('there is no message of that number');
  const { now, limits } = session.shared;
  const until = now() + limits.searchMs;
  const turns = new Turns(256);
  const found: number[] = [];
  for (const [index, entry] of view.all().entries()) {
    await turns.next();
    if (session.connection.signal.aborted) break;
    if (now() > until) return no('the search takes too long; narrow it down', 'LIMIT');
    if (await test.matches(new Candidate(view, { sequence: index + 1, entry })))
      found.push(by === 'uid' ? entry.uid : index + 1);
  }
  await session.connection.writer.line(['* SEARCH', ...found].join(' '));
  return ok('searched');
}

interface Test {
  /** Whether the message itself must be read to know. */
  readonly costly: boolean;
  readonly matches: (candidate: Candidate) => boolean | Promise<boolean>;
}

function cheap(matches: (message: Numbered) => boolean): Test {
  return { costly: false, matches: ({ message }) => matches(message) };
}

/** The key as a question to one message; undefined when it names a message number out of range. */
function tester(key: SearchKey, view: FolderView): Test | undefined {
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
    case 'sent':
      return { costly: true, matches: async (candidate) => within(await candidate.sent(), key) };
    case 'header': {
      const wanted = folded(key.text);
      return { costly: true, matches: async (candidate) => await candidate.hasHeader(key.field, wanted) };
    }
    case 'body':
    case 'text': {
      const wanted = folded(key.text);
      return { costly: true, matches: async (candidate) => await candidate.hasText(wanted, key.kind === 'text') };
    }
    case 'not': {
      const test = tester(key.key, view);
      return test && { costly: test.costly, matches: async (candidate) => !(await test.matches(candidate)) };
    }
    default:
      return combined(key, view);
  }
}

function combined(key: Extract<SearchKey, { kind: 'and' | 'or' }>, view: FolderView): Test | undefined {
  const tests: Test[] = [];
  for (const inner of key.keys) {
    const test = tester(inner, view);
    if (test === undefined) return undefined;
    tests.push(test);
  }
  tests.sort((a, b) => Number(a.costly) - Number(b.costly));
  const stopsAt = key.kind === 'or';
  const matches = async (candidate: Candidate): Promise<boolean> => {
    for (const test of tests) if ((await test.matches(candidate)) === stopsAt) return stopsAt;
    return !stopsAt;
  };
  return { costly: tests.some(({ costly }) => costly), matches };
}

function flagTest({ flag, set }: Extract<SearchKey, { kind: 'flag' }>): Test {
  const wanted = flag.toLowerCase();
  return cheap(({ entry }) => entry.flags.some((one) => one.toLowerCase() === wanted) === set);
}

function setTest({ by, set }: Extract<SearchKey, { kind: 'messages' }>, view: FolderView): Test | undefined {
  const resolved = view.resolve({ by, set });
  if (resolved.kind === 'out-of-range') return undefined;
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

/** Case means nothing (RFC 3501 §6.4.4), in any script. */
function folded(text: string): string {
  return text.normalize('NFC').toLowerCase();
}

/** One message under test; read once, and only when a key needs it. */
class Candidate {
  readonly message: Numbered;
  readonly #view: FolderView;
  #loaded: { bytes: Buffer; top: Part } | undefined;

  constructor(view: FolderView, message: Numbered) {
    this.#view = view;
    this.message = message;
  }

  /** The day that the Date field names, in its own zone; undefined when there is none. */
  async sent(): Promise<number | undefined> {
    const value = (await this.#values('date'))[0];
    const match = value === undefined ? null : /(\d{1,2})\s+([A-Za-z]{3})[a-z]*\s+(\d{4})/.exec(value);
    if (match === null) return undefined;
    const day = Date.parse(`${match[1]} ${match[2]} ${match[3]} 00:00:00 GMT`);
    return Number.isNaN(day) ? undefined : day;
  }

  async hasHeader(field: string, wanted: string): Promise<boolean> {
    // RFC 3501 §6.4.4: the empty string asks whether the field is there at all.
    return (await this.#values(field)).some((value) => folded(decodeWords(value)).includes(wanted));
  }

  async hasText(wanted: string, headerToo: boolean): Promise<boolean> {
    const loaded = await this.#load();
    if (loaded === undefined) return false;
    const { bytes, top } = loaded;
    if (headerToo && folded(decodeWords(bytes.toString('latin1', top.header.start, top.header.end))).includes(wanted))
      return true;
    for (const text of readableTexts(bytes, top)) if (folded(text).includes(wanted)) return true;
    return false;
  }

  async #values(field: string): Promise<string[]> {
    const loaded = await this.#load();
    if (loaded === undefined) return [];
    return loaded.top.fields.filter(({ name }) => name === field).map((found) => fieldValue(loaded.bytes, found));
  }

  async #load(): Promise<{ bytes: Buffer; top: Part } | undefined> {
    if (this.#loaded !== undefined) return this.#loaded;
    try {
      const bytes = Buffer.from(await this.#view.folder.bytes(this.message.entry.uid));
      this.#loaded = { bytes, top: parseStructure(bytes) };
    } catch (fault) {
      // Gone meanwhile: it matches nothing.
      if (!(fault instanceof MailFault) || fault.code !== 'no-such-message') throw fault;
    }
    return this.#loaded;
  }
}
