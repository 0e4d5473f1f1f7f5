import { MailFault } from '../../../mail/fault.ts';
import type { Command } from '../command/command.ts';
import { formatSet } from '../wire/sequence-set.ts';
import { bad, type Completion, type LoggedIn, no, ok, type Selected, type Session } from './session.ts';
import type { FolderView } from './view.ts';

/** Commands that change messages: STORE, COPY, MOVE, APPEND, EXPUNGE (RFC 3501 §6.3.11, §6.4; RFC 4315; RFC 6851). */

const readOnly = no('the folder was opened for reading', 'READ-ONLY');
const outOfRange = bad('there is no message of that number');

export async function store(
  session: Session,
  { view }: Selected,
  command: Extract<Command, { name: 'store' }>,
): Promise<Completion> {
  if (view.readOnly) return readOnly;
  const resolved = view.resolve(command.messages);
  if (resolved.kind === 'out-of-range') return outOfRange;
  const uids = resolved.messages.map(({ entry }) => entry.uid);
  if (uids.length === 0) return ok('nothing to store');
  // \Recent cannot be set by a client (RFC 3501 §2.3.2); some send back what they once got.
  const flags = command.flags.filter((flag) => flag.toLowerCase() !== '\\recent');
  const entries = await view.folder.setFlags(uids, command.mode, flags);
  view.adopt(entries);
  if (!command.silent) {
    for (const { sequence, entry } of view.numbered(entries.map(({ uid }) => uid))) {
      const uid = command.messages.by === 'uid' ? `UID ${entry.uid} ` : '';
      await session.connection.writer.line(`* ${sequence} FETCH (${uid}FLAGS (${entry.flags.join(' ')}))`);
    }
  }
  return entries.length === uids.length ? ok('stored') : no('some of the messages are gone', 'EXPUNGEISSUED');
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
  { shared }: Session,
  { account }: LoggedIn,
  command: Extract<Command, { name: 'append' }>,
): Promise<Completion> {
  if (command.message.length === 0) return no('an empty message is none', 'CANNOT');
  const folder = await account.mailbox.folder(command.mailbox);
  if (folder === undefined) return no('there is no such folder; create it first', 'TRYCREATE');
  const flags = command.flags.filter((flag) => flag.toLowerCase() !== '\\recent');
  const internalDate = command.internalDate ?? shared.now();
  const { uid } = await folder.append(command.message, { flags, internalDate });
  return ok('appended', `APPENDUID ${folder.uidValidity} ${uid}`);
}

/** EXPUNGE, or UID EXPUNGE when `command.uids` is given. The responses are sent at the end of the command. */
export async function expunge({ view }: Selected, command: Extract<Command, { name: 'expunge' }>): Promise<Completion> {
  if (view.readOnly) return readOnly;
  await removeDeleted(view, command.uids === undefined ? undefined : view.resolve({ by: 'uid', set: command.uids }));
  return ok('expunged');
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
