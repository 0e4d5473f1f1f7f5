import type { Folder } from '../../../mail/folder.ts';
import type { FolderAnswer } from '../../../mail/mailbox.ts';
import type { Command, StatusItem } from '../command/command.ts';
import { encodeMailboxName } from '../wire/mailbox-name.ts';
import { astring } from '../wire/output.ts';
import { type Completion, type LoggedIn, no, ok, type Session } from './session.ts';
import { FolderView } from './view.ts';

/** Commands on folders as a whole (RFC 3501 §6.3). */

const systemFlags = ['\\Answered', '\\Flagged', '\\Deleted', '\\Seen', '\\Draft'];

/** A folder's name as the client sees it. */
export function shownName(name: string): string {
  return astring(encodeMailboxName(name));
}

export async function select(
  session: Session,
  state: LoggedIn,
  command: Extract<Command, { name: 'select' | 'examine' }>,
): Promise<Completion> {
  // RFC 3501 §6.3.1: the folder selected before is left even when the new one does not exist.
  leaveFolder(session);
  const folder = await state.account.mailbox.folder(command.mailbox);
  if (folder === undefined) return no('there is no such folder', 'NONEXISTENT');
  const readOnly = command.name === 'examine';
  const view = new FolderView(folder, readOnly, () => session.connection.wake());
  session.state = { at: 'selected', account: state.account, view };
  await describe(session, view);
  return ok(readOnly ? 'opened for reading' : 'opened', readOnly ? 'READ-ONLY' : 'READ-WRITE');
}

async function describe(session: Session, view: FolderView): Promise<void> {
  const { folder } = view;
  const flags = [...systemFlags, ...folder.keywords()];
  const permanent = view.readOnly ? '' : [...flags, '\\*'].join(' ');
  const unseen = view.all().findIndex((entry) => !entry.flags.includes('\\Seen'));
  const lines = [
    `* FLAGS (${flags.join(' ')})`,
    `* ${view.count} EXISTS`,
    '* 0 RECENT',
    ...(unseen === -1 ? [] : [`* OK [UNSEEN ${unseen + 1}] first unseen message`]),
    `* OK [UIDVALIDITY ${folder.uidValidity}] UIDs are valid`,
    `* OK [UIDNEXT ${folder.uidNext}] the next UID`,
    `* OK [PERMANENTFLAGS (${permanent})] flags that are kept`,
  ];
  await session.connection.writer.write(`${lines.join('\r\n')}\r\n`);
}

/** Back to no folder selected; nothing when none is. */
export function leaveFolder(session: Session): void {
  if (session.state.at !== 'selected') return;
  session.state.view.close();
  session.state = { at: 'authenticated', account: session.state.account };
}

export async function changeFolders(
  state: LoggedIn,
  command: Extract<Command, { name: 'create' | 'delete' | 'rename' | 'subscribe' | 'unsubscribe' }>,
): Promise<Completion> {
  const { mailbox } = state.account;
  switch (command.name) {
    case 'create':
      return answered(await mailbox.create(command.mailbox), 'created');
    case 'delete':
      return answered(await mailbox.remove(command.mailbox), 'deleted');
    case 'rename':
      return answered(await mailbox.rename(command.from, command.to), 'renamed');
    case 'subscribe':
      return answered(await mailbox.subscribe(command.mailbox, true), 'subscribed');
    default:
      return answered(await mailbox.subscribe(command.mailbox, false), 'unsubscribed');
  }
}

/** RFC 5530 §3 response codes. */
const codes = {
  exists: 'ALREADYEXISTS',
  missing: 'NONEXISTENT',
  'bad-name': 'CANNOT',
  'not-allowed': 'CANNOT',
  'too-many': 'LIMIT',
} as const;

function answered(answer: FolderAnswer, done: string): Completion {
  // The reason may name a folder in any script; a response text is ASCII (RFC 3501 §9 TEXT-CHAR).
  return answer.kind === 'done' ? ok(done) : no(answer.reason.replace(/[^\x20-\x7e]/g, '?'), codes[answer.code]);
}

export async function status(
  session: Session,
  state: LoggedIn,
  command: Extract<Command, { name: 'status' }>,
): Promise<Completion> {
  const folder = await state.account.mailbox.folder(command.mailbox);
  if (folder === undefined) return no('there is no such folder', 'NONEXISTENT');
  await session.connection.writer.line(statusLine(command.mailbox, folder, command.items));
  return ok('that is how it stands');
}

export function statusLine(name: string, folder: Folder, items: readonly StatusItem[]): string {
  return `* STATUS ${shownName(name)} (${items.map((item) => `${item} ${statusOf(folder, item)}`).join(' ')})`;
}

function statusOf(folder: Folder, item: StatusItem): number {
  switch (item) {
    case 'MESSAGES':
      return folder.entries().length;
    case 'RECENT':
      return 0;
    case 'UIDNEXT':
      return folder.uidNext;
    case 'UIDVALIDITY':
      return folder.uidValidity;
    case 'UNSEEN':
      return folder.unseen;
    case 'SIZE':
      return folder.entries().reduce((sum, entry) => sum + entry.size, 0);
    default:
      return folder.entries().filter((entry) => entry.flags.includes('\\Deleted')).length;
  }
}
