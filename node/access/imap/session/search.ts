import type { MessageEntry } from '../../../mail/folder.ts';
import type { Command, SearchReturn } from '../command/command.ts';
import type { SearchKey } from '../command/search-keys.ts';
import { quoted } from '../wire/output.ts';
import { formatSet } from '../wire/sequence-set.ts';
import { wantsModseq } from './enabled.ts';
import { Candidate } from './search-candidate.ts';
import { tester } from './search-test.ts';
import { bad, type Completion, no, ok, type Selected, type Session } from './session.ts';
import { Turns } from './turns.ts';
import type { FolderView, Numbered } from './view.ts';

type SearchCommand = Extract<Command, { name: 'search' }>;

/** SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 5182). Keys that the index answers are tried before any that need the message itself. */
export async function search(session: Session, { view }: Selected, command: SearchCommand): Promise<Completion> {
  const { charset, key } = command.program;
  const byModseq = names(key, 'modseq');
  if (byModseq) await wantsModseq(session);
  const saves = command.returns?.has('SAVE') === true;
  const failed = (completion: Completion): Completion => {
    // RFC 5182 §2.1: a search that ends in NO leaves nothing saved.
    if (saves) view.saved = [];
    return completion;
  };
  // RFC 6855 §3: who has enabled UTF-8 sends nothing else, and does not say so.
  if (charset !== undefined && session.enabled.has('UTF8=ACCEPT')) return bad('no CHARSET after ENABLE UTF8=ACCEPT');
  if (charset !== undefined && charset !== 'UTF-8' && charset !== 'US-ASCII')
    return failed(no('only UTF-8 and US-ASCII are understood', 'BADCHARSET (US-ASCII UTF-8)'));
  const found = await matching(session, view, key);
  if (found === undefined) return failed(no('the search takes too long; narrow it down', 'LIMIT'));
  const returns = command.returns ?? (session.enabled.has('IMAP4rev2') ? new Set<SearchReturn>(['ALL']) : undefined);
  if (saves) view.saved = savedOf(found, command.returns).map(({ entry }) => entry.uid);
  const { writer } = session.connection;
  if (returns === undefined) await writer.line(plainAnswer(found, command.by, byModseq));
  else if ([...returns].some((option) => option !== 'SAVE'))
    await writer.line(extendedAnswer(session.tag, found, { by: command.by, returns, byModseq }));
  return ok('searched');
}

// Questions to the index take some nanoseconds each.
const cheapPerTurn = 8_192;
const costlyPerTurn = 256;

/** What matches; undefined when the time is over. */
async function matching(session: Session, view: FolderView, key: SearchKey): Promise<readonly Numbered[] | undefined> {
  const { now, limits } = session.shared;
  const test = tester(key, view);
  if (test.never === true) return [];
  const until = now() + limits.searchMs;
  const turns = new Turns(test.costly ? costlyPerTurn : cheapPerTurn);
  const found: Numbered[] = [];
  const all = view.all();
  for (let index = 0; index < all.length; index += 1) {
    if (turns.due()) {
      await turns.give();
      if (session.connection.signal.aborted) break;
      if (now() > until) return undefined;
    }
    const entry = all[index]!;
    if (!test.costly) {
      if (test.matches(entry, index + 1)) found.push({ sequence: index + 1, entry });
      continue;
    }
    const message = { sequence: index + 1, entry };
    const answer = test.matches(new Candidate(view, message));
    if (typeof answer === 'boolean') {
      if (answer) found.push(message);
      continue;
    }
    // A message is read, which takes its time.
    if (await answer) found.push(message);
    if (session.connection.signal.aborted) break;
    if (now() > until) return undefined;
  }
  return found;
}

/** Whether a key of that kind is in it. */
export function names(key: SearchKey, kind: SearchKey['kind']): boolean {
  if (key.kind === 'not') return names(key.key, kind);
  if (key.kind === 'and' || key.kind === 'or') return key.keys.some((inner) => names(inner, kind));
  return key.kind === kind;
}

function numberOf({ sequence, entry }: Numbered, by: SearchCommand['by']): number {
  return by === 'uid' ? entry.uid : sequence;
}

function plainAnswer(found: readonly Numbered[], by: SearchCommand['by'], byModseq: boolean): string {
  const modseq = byModseq && found.length > 0 ? [`(MODSEQ ${highest(found)})`] : [];
  return ['* SEARCH', ...found.map((message) => numberOf(message, by)), ...modseq].join(' ');
}

/** RFC 4731 §3.1; RFC 7162 §3.1.10 for the mod-sequence: of what the answer is about. */
function extendedAnswer(
  tag: string,
  found: readonly Numbered[],
  { by, returns, byModseq }: { by: SearchCommand['by']; returns: ReadonlySet<SearchReturn>; byModseq: boolean },
): string {
  const [first, last] = [found[0], found.at(-1)];
  const words = [`* ESEARCH (TAG ${quoted(tag)})`, ...(by === 'uid' ? ['UID'] : [])];
  if (first !== undefined && last !== undefined) {
    if (returns.has('MIN')) words.push(`MIN ${numberOf(first, by)}`);
    if (returns.has('MAX')) words.push(`MAX ${numberOf(last, by)}`);
    if (returns.has('ALL')) words.push(`ALL ${formatSet(found.map((message) => numberOf(message, by)))}`);
  }
  if (returns.has('COUNT')) words.push(`COUNT ${found.length}`);
  if (byModseq && found.length > 0) words.push(`MODSEQ ${highest(meant(found, returns))}`);
  return words.join(' ');
}

function highest(messages: readonly { readonly entry: MessageEntry }[]): number {
  return messages.reduce((most, { entry }) => Math.max(most, entry.modseq), 0);
}

/** All, unless only the first or the last were asked for. */
function meant(found: readonly Numbered[], returns: ReadonlySet<SearchReturn>): readonly Numbered[] {
  const ends = returns.has('MIN') || returns.has('MAX');
  if (!ends || returns.has('ALL') || returns.has('COUNT')) return found;
  const only = [...(returns.has('MIN') ? found.slice(0, 1) : []), ...(returns.has('MAX') ? found.slice(-1) : [])];
  return only.length === 2 && only[0] === only[1] ? only.slice(1) : only;
}

/** RFC 5182 §2.1: with MIN or MAX alone, only these are saved. */
function savedOf(found: readonly Numbered[], returns: ReadonlySet<SearchReturn> | undefined): readonly Numbered[] {
  return meant(found, returns ?? new Set());
}
