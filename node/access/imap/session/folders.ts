import type { Folder, MessageEntry } from '../../../mail/folder.ts';
import type { FolderAnswer, Mailbox, SpecialUse } from '../../../mail/mailbox.ts';
import type { Command, StatusItem } from '../command/command.ts';
import { encodeMailboxName } from '../wire/mailbox-name.ts';
import { astring, latin1Of, quoted } from '../wire/output.ts';
import { highestModseq, utf8Names, wantsModseq } from './enabled.ts';
import { resynchronise } from './resync.ts';
import { bad, type Completion, type LoggedIn, no, ok, type Session } from './session.ts';
import { FolderView } from './view.ts';

/** Commands on folders as a whole (RFC 3501 §6.3). */

const systemFlags = ['\\Answered', '\\Flagged', '\\Deleted', '\\Seen', '\\Draft'];

/** A folder's name as the client sees it. */
export function shownName(session: Session, name: string): string {
  if (!utf8Names(session)) return astring(encodeMailboxName(name));
  return /^[\x20-\x7e]*$/.test(name) ? astring(name) : latin1Of(quoted(name));
}

export async function select(
  session: Session,
  state: LoggedIn,
  command: Extract<Command, { name: 'select' | 'examine' }>,
): Promise<Completion> {
  // RFC 7162 §3.2.5.
  if (command.resync !== undefined && !session.enabled.has('QRESYNC')) return bad('ENABLE QRESYNC first');
  if (session.state.at === 'selected') {
    // RFC 3501 §6.3.1: the folder selected before is left even when the new one does not exist.
    leaveFolder(session);
    // RFC 7162 §3.2.11: what comes after this is about the new one.
    await session.connection.writer.line('* OK [CLOSED] the folder selected before is left');
  }
  if (command.condstore) await wantsModseq(session);
  const folder = await state.account.mailbox.folder(command.mailbox);
  if (folder === undefined) return no('there is no such folder', 'NONEXISTENT');
  const readOnly = command.name === 'examine';
  const view = new FolderView(folder, readOnly, () => session.connection.wake());
  session.state = { at: 'selected', account: state.account, view };
  await describe(session, view);
  if (command.resync !== undefined) await resynchronise(session, view, command.resync);
  return ok(readOnly ? 'opened for reading' : 'opened', readOnly ? 'READ-ONLY' : 'READ-WRITE');
}

async function describe(session: Session, view: FolderView): Promise<void> {
  const { folder } = view;
  const flags = [...systemFlags, ...folder.keywords()];
  const permanent = view.readOnly ? '' : [...flags, '\\*'].join(' ');
  const rev2 = session.enabled.has('IMAP4rev2');
  // RFC 9051 §6.3.2 dropped RECENT and UNSEEN, and wants the name as LIST shows it.
  const unseen = rev2 || folder.unseen === 0 ? -1 : view.all().findIndex(({ flags: has }) => !has.includes('\\Seen'));
  const lines = [
    `* FLAGS (${flags.join(' ')})`,
    `* ${view.count} EXISTS`,
    ...(rev2 ? [`* LIST () "/" ${shownName(session, folder.name)}`] : ['* 0 RECENT']),
    ...(unseen === -1 ? [] : [`* OK [UNSEEN ${unseen + 1}] first unseen message`]),
    `* OK [UIDVALIDITY ${folder.uidValidity}] UIDs are valid`,
    `* OK [UIDNEXT ${folder.uidNext}] the next UID`,
    `* OK [PERMANENTFLAGS (${permanent})] flags that are kept`,
    highestModseq(folder.highestModseq),
    `* OK [MAILBOXID (${mailboxId(folder.uidValidity)})] the same under every name`,
  ];
  await session.connection.writer.write(`${lines.join('\r\n')}\r\n`);
}

/** RFC 8474 §4.1. A uidValidity is never given twice in a mailbox, and goes along when a folder is renamed. */
function mailboxId(uidValidity: number): string {
  return `F${uidValidity}`;
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
      return await create(mailbox, command);
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

const specialUses: readonly SpecialUse[] = ['\\Sent', '\\Drafts', '\\Junk', '\\Trash', '\\Archive'];

async function create(
  mailbox: Mailbox,
  { mailbox: name, use: asked }: Extract<Command, { name: 'create' }>,
): Promise<Completion> {
  const use = specialUses.find((known) => known.toLowerCase() === `\\${asked?.toLowerCase()}`);
  // RFC 6154 §3.
  if (asked !== undefined && use === undefined) return no('that special use is not known here', 'USEATTR');
  const answer = await mailbox.create(name, use);
  const made = answer.kind === 'done' ? await mailbox.folder(name) : undefined;
  if (made === undefined) return answered(answer, 'created');
  return ok('created', `MAILBOXID (${mailboxId(made.uidValidity)})`);
}

/** RFC 5530 §3 response codes. */
const codes = {
  exists: 'ALREADYEXISTS',
  missing: 'NONEXISTENT',
  'bad-name': 'CANNOT',
  'not-allowed': 'CANNOT',
  'too-many': 'LIMIT',
  'use-taken': 'USEATTR',
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
  if (command.items.includes('HIGHESTMODSEQ')) await wantsModseq(session);
  await session.connection.writer.line(statusLine(session, command.mailbox, folder, command.items));
  return ok('that is how it stands');
}

export function statusLine(session: Session, name: string, folder: Folder, items: readonly StatusItem[]): string {
  return `* STATUS ${shownName(session, name)} (${items.map((item) => `${item} ${statusOf(folder, item)}`).join(' ')})`;
}

function statusOf(folder: Folder, item: StatusItem): number | string {
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
    case 'HIGHESTMODSEQ':
      return folder.highestModseq;
    case 'MAILBOXID':
      return `(${mailboxId(folder.uidValidity)})`;
    case 'SIZE':
      return octetsOf(folder.entries());
    case 'DELETED':
      return deletedIn(folder).length;
    default:
      // RFC 9208 §4.1.4. A copy in another folder may keep some of it; which, a folder does not know.
      return octetsOf(deletedIn(folder));
  }
}

function deletedIn(folder: Folder): readonly MessageEntry[] {
  return folder.entries().filter((entry) => entry.flags.includes('\\Deleted'));
}

function octetsOf(entries: readonly MessageEntry[]): number {
  return entries.reduce((sum, entry) => sum + entry.size, 0);
}
