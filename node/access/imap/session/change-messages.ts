import { MailFault } from '../../../mail/fault.ts';
import type { MessageEntry } from '../../../mail/folder.ts';
import { keepOutline } from '../../kept-outline.ts';
import { ownSentCopy } from '../../sent-copy.ts';
import type { Command } from '../command/command.ts';
import { outlinedBytes, outlineOf } from '../message/outline.ts';
import { withoutBinary } from '../message/without-binary.ts';
import { formatSet } from '../wire/sequence-set.ts';
import { wantsModseq } from './enabled.ts';
import { bad, type Completion, type LoggedIn, no, ok, type Selected, type Session } from './session.ts';
import { flagsLine } from './updates.ts';
import type { FolderView } from './view.ts';

/** Commands that change messages: STORE, COPY, MOVE, APPEND, EXPUNGE (RFC 3501 §6.3.11, §6.4; RFC 4315; RFC 6851). */

const readOnly = no('the folder was opened for reading', 'READ-ONLY');
const outOfRange = bad('there is no message of that number');

export async function store(
  session: Session,
  { view }: Selected,
  command: Extract<Command, { name: 'store' }>,
): Promise<Completion> {
  const { unchangedSince } = command;
  if (unchangedSince !== undefined) await wantsModseq(session);
  if (view.readOnly) return readOnly;
  const resolved = view.resolve(command.messages);
  if (resolved.kind === 'out-of-range') return outOfRange;
  const uids = resolved.messages.map(({ entry }) => entry.uid);
  if (uids.length === 0) return ok('nothing to store');
  // \Recent cannot be set by a client (RFC 3501 §2.3.2); some send back what they once got.
  const flags = command.flags.filter((flag) => flag.toLowerCase() !== '\\recent');
  const { entries, modified } = await changeFlags(session, view, { uids, mode: command.mode, flags, unchangedSince });
  const byUid = command.messages.by === 'uid';
  // RFC 7162 §3.1.3: the new mod-sequence is told even where the flags are not asked for.
  if (!command.silent || session.enabled.has('CONDSTORE')) {
    for (const message of view.numbered(entries.map(({ uid }) => uid))) {
      await session.connection.writer.line(flagsLine(session, message, { uid: byUid, silent: command.silent }));
    }
  }
  if (entries.length + modified.length < uids.length) return no('some of the messages are gone', 'EXPUNGEISSUED');
  if (modified.length === 0) return ok('stored');
  const numbers = byUid ? modified : view.numbered(modified).map(({ sequence }) => sequence);
  return ok('not stored where it has changed since', `MODIFIED ${formatSet(numbers)}`);
}

interface FlagChange {
  readonly uids: readonly number[];
  readonly mode: 'set' | 'add' | 'remove';
  readonly flags: readonly string[];
  readonly unchangedSince?: number | undefined;
}

/**
 * Changes flags, and the view with them. Written before this resolves for a client that is told mod-sequences: what it keeps by them must not be lost.
 * For others it is on its way then (Folder.setFlagsEarly), as it waits for a disk for every message that is clicked on otherwise.
 */
export async function changeFlags(
  { shared, enabled }: Session,
  view: FolderView,
  { uids, mode, flags, unchangedSince }: FlagChange,
): Promise<{ readonly entries: readonly MessageEntry[]; readonly modified: readonly number[] }> {
  const { folder } = view;
  const { flagDelayMs } = shared.limits;
  if (!enabled.has('CONDSTORE') && flagDelayMs > 0) {
    const early = folder.setFlagsEarly(uids, mode, flags, flagDelayMs);
    if (early !== undefined) {
      view.adoptEarly(early);
      early.written.catch((fault: unknown) => {
        shared.log.warn({ fault }, 'a change of flags was answered and could not be written; the program is told');
      });
      return { entries: early.entries, modified: [] };
    }
  }
  const changed = await folder.setFlagsIfUnchanged(uids, mode, flags, unchangedSince ?? Number.MAX_SAFE_INTEGER);
  view.adopt(changed.entries);
  return changed;
}

export async function copy(
  session: Session,
  { account, view }: Selected,
  command: Extract<Command, { name: 'copy' | 'move' }>,
): Promise<Completion> {
  if (command.name === 'move' && view.readOnly) return readOnly;
  const resolved = view.resolve(command.messages);
  if (resolved.kind === 'out-of-range') return outOfRange;
  const target = await account.mailbox.folder(command.mailbox);
  if (target === undefined) return no('there is no such folder; create it first', 'TRYCREATE');
  const uids = resolved.messages.map(({ entry }) => entry.uid);
  if (uids.length === 0) return ok('nothing to copy');
  if (command.name === 'copy') {
    const { from, to } = await view.folder.copyTo(target, uids);
    return from.length === 0 ? gone : ok('copied', copied(target.uidValidity, from, to));
  }
  const { from, to } = await view.folder.moveTo(target, uids);
  if (from.length === 0) return gone;
  // RFC 6851 §4.3: the code comes before the EXPUNGE responses, which are sent at the end of the command.
  await session.connection.writer.line(`* OK [${copied(target.uidValidity, from, to)}] moved`);
  return ok('moved');
}

const gone = no('the messages are gone', 'EXPUNGEISSUED');

function copied(uidValidity: number, from: readonly number[], to: readonly number[]): string {
  return `COPYUID ${uidValidity} ${formatSet(from)} ${formatSet(to)}`;
}

export async function append(
  { shared, enabled }: Session,
  { account }: LoggedIn,
  command: Extract<Command, { name: 'append' }>,
): Promise<Completion> {
  // RFC 6855 §4: only who has said that he takes UTF-8 may send it so.
  if (command.utf8 && !enabled.has('UTF8=ACCEPT') && !enabled.has('IMAP4rev2')) return bad('ENABLE UTF8=ACCEPT first');
  if (command.message.length === 0) return no('an empty message is none', 'CANNOT');
  const folder = await account.mailbox.folder(command.mailbox);
  if (folder === undefined) return no('there is no such folder; create it first', 'TRYCREATE');
  const flags = command.flags.filter((flag) => flag.toLowerCase() !== '\\recent');
  const internalDate = command.internalDate ?? shared.now();
  const message = await withoutBinary(command.message);
  // What was sent through this node is there already: the program's copy takes its place where it is another one, and is the same where it is not.
  const twin = ownSentCopy(account.mailbox, folder, message, shared.now());
  if (twin?.same === true) {
    await folder.setFlags([twin.uid], 'add', flags);
    return ok('it is there already', `APPENDUID ${folder.uidValidity} ${twin.uid}`);
  }
  const { uid } = await folder.append(message, { flags, internalDate });
  if (twin !== undefined) await folder.expunge([twin.uid]);
  // While it is at hand: programs list what they have just put there. A large one would take its time, and is not looked at twice.
  if (message.length <= outlinedBytes) keepOutline(folder, uid, outlineOf(message));
  return ok('appended', `APPENDUID ${folder.uidValidity} ${uid}`);
}

/** EXPUNGE, or UID EXPUNGE when `command.uids` is given. The responses are sent at the end of the command. */
export async function expunge(
  { enabled }: Session,
  { view }: Selected,
  command: Extract<Command, { name: 'expunge' }>,
): Promise<Completion> {
  if (view.readOnly) return readOnly;
  await removeDeleted(view, command.uids === undefined ? undefined : view.resolve(command.uids));
  // RFC 7162 §3.2.7.
  return ok('expunged', enabled.has('QRESYNC') ? `HIGHESTMODSEQ ${view.folder.highestModseq}` : undefined);
}

/** RFC 3501 §6.4.2: CLOSE expunges without a word. */
export async function expungeQuietly(view: FolderView): Promise<void> {
  try {
    await removeDeleted(view, undefined);
  } catch (fault) {
    // The folder has gone, and its deleted messages with it.
    if (!(fault instanceof MailFault) || fault.code !== 'folder-gone') throw fault;
  }
}

async function removeDeleted(view: FolderView, among: ReturnType<FolderView['resolve']> | undefined): Promise<void> {
  const candidates = among?.kind === 'messages' ? among.messages.map(({ entry }) => entry) : view.all();
  // The flags of now, not those last told: another session may have taken \Deleted back.
  const uids = candidates
    .filter(({ uid }) => view.folder.entry(uid)?.flags.includes('\\Deleted') === true)
    .map(({ uid }) => uid);
  if (uids.length > 0) await view.folder.expunge(uids);
}
