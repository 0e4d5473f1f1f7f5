import { randomBytes } from 'node:crypto';
import { asMailFault, MailFault } from './fault.ts';
import type { Folder, MessageEntry } from './folder.ts';
import { FolderIndex } from './folder-index.ts';
import { isInferior } from './folder-name.ts';
import { folderLogName } from './folder-shelf.ts';
import type { HeadBackup } from './head-backups.ts';
import { replay } from './log-writer.ts';
import type { Mailbox } from './mailbox.ts';
import { type ListedFolder, MailboxIndex } from './mailbox-index.ts';
import type { FolderRecovery, Recovery } from './recovery-report.ts';

// One head takes 200 changes; more at once only wait.
const atOnce = 200;

interface Then {
  readonly at: number;
  readonly folders: readonly ListedFolder[];
  /** The folder as it was; undefined where its log was not kept. */
  index(id: number): Promise<FolderIndex | undefined>;
}

/** The mailbox as its heads had it. */
export async function asOf(backup: HeadBackup): Promise<Then> {
  const list = backup.read('mailbox');
  if (list === undefined) throw new MailFault('missing', 'the kept heads have no folder list');
  const root = new MailboxIndex();
  await replay({ ...list, name: 'mailbox' }, root);
  return {
    at: backup.at,
    folders: root.folders.values().toArray(),
    index: async (id) => {
      const log = backup.read(folderLogName(id));
      if (log === undefined) return undefined;
      const index = new FolderIndex();
      await replay({ ...log, name: folderLogName(id) }, index);
      return index;
    },
  };
}

/**
 * Makes the folders what they were: by new changes at the end of their logs, so that nothing is rolled back, every node of the user follows, and what was
 * there just before can still be reached. What came since goes to a folder of its own. Folders made since stay. With `dryRun` nothing is written.
 */
export async function recover(
  mailbox: Mailbox,
  then: Then,
  { dryRun }: { readonly dryRun: boolean },
): Promise<Recovery> {
  const aside = `Set aside ${new Date(then.at).toISOString().slice(0, 16).replace(':', '.')}`;
  const folders: FolderRecovery[] = [];
  for (const listed of then.folders) {
    // What an earlier recovery set aside is where it is on purpose.
    if (listed.name.startsWith('Set aside ')) continue;
    try {
      folders.push(await one(mailbox, then, listed, aside, dryRun));
    } catch (error) {
      const fault = asMailFault(error, 'the folder could not be recovered');
      if (!(fault instanceof MailFault)) throw fault;
      const trouble = fault.message;
      folders.push({ name: listed.name, broughtBack: 0, setAside: 0, flagged: 0, made: false, trouble });
    }
  }
  return { at: then.at, aside, folders };
}

async function one(
  mailbox: Mailbox,
  then: Then,
  listed: ListedFolder,
  aside: string,
  dryRun: boolean,
): Promise<FolderRecovery> {
  const index = await then.index(listed.id);
  if (index === undefined) throw new MailFault('missing', 'its log was not kept');
  const wanted = index.entries().filter(({ uid }) => !index.gaps.has(uid));
  const name = mailbox.folders().find(({ uidValidity }) => uidValidity === listed.id)?.name;
  const made = name === undefined;
  const folder = made ? undefined : await mailbox.folder(name);
  const { missing, since, flagged } = compared(wanted, folder?.entries() ?? []);
  const answer = {
    name: name ?? listed.name,
    made,
    broughtBack: missing.length,
    setAside: since.length,
    flagged: flagged.length,
  };
  if (dryRun || (!made && missing.length + since.length + flagged.length === 0)) return answer;
  const target = folder ?? (await madeFolder(mailbox, listed.name));
  if (since.length > 0) {
    const place = await madeFolder(mailbox, `${aside}/${answer.name.replaceAll('/', '.')}`);
    await target.moveTo(
      place,
      since.map(({ uid }) => uid),
    );
  }
  await bringBack(target, missing);
  for (const { flags, uids } of byFlags(flagged)) await target.setFlags(uids, 'set', flags);
  return { ...answer, name: target.name };
}

/** The folder of that name, made where there is none, or where the name is taken by what a folder cannot be made of: its superior. */
async function madeFolder(mailbox: Mailbox, name: string): Promise<Folder> {
  const taken = mailbox.folders().some((one) => one.name === name && !isInferior(name, one.name));
  const free = taken && !name.startsWith('Set aside ') ? `${name} (recovered)` : name;
  await mailbox.create(free);
  const folder = await mailbox.folder(free);
  if (folder === undefined) throw new MailFault('folder-gone', `the folder ${free} could not be made`);
  return folder;
}

interface Compared {
  readonly missing: readonly MessageEntry[];
  readonly since: readonly MessageEntry[];
  readonly flagged: readonly { readonly uid: number; readonly flags: readonly string[] }[];
}

/** What of `wanted` is not among `present`, and the other way round. The same octets are the same message, whatever its uid; where there are several, the uid tells. */
function compared(wanted: readonly MessageEntry[], present: readonly MessageEntry[]): Compared {
  const left = new Map<string, MessageEntry[]>();
  for (const entry of present) left.set(entry.emailId, [...(left.get(entry.emailId) ?? []), entry]);
  const taken = new Set<MessageEntry>();
  const missing: MessageEntry[] = [];
  const flagged: { uid: number; flags: readonly string[] }[] = [];
  for (const entry of wanted) {
    const candidates = (left.get(entry.emailId) ?? []).filter((other) => !taken.has(other));
    const here = candidates.find(({ uid }) => uid === entry.uid) ?? candidates[0];
    if (here === undefined) missing.push(entry);
    else {
      taken.add(here);
      if (here.flags.join(' ') !== entry.flags.join(' ')) flagged.push({ uid: here.uid, flags: entry.flags });
    }
  }
  return { missing, since: present.filter((entry) => !taken.has(entry)), flagged };
}

async function bringBack(folder: Folder, entries: readonly MessageEntry[]): Promise<void> {
  for (let from = 0; from < entries.length; from += atOnce)
    await Promise.all(
      entries.slice(from, from + atOnce).map(async ({ ref, flags, internalDate }) =>
        // Under a name of its own: it was deleted under the one it came by, and deletions win.
        folder.insertRef({ id: randomBytes(32), ref, flags, internalDate, envelopeFrom: '', trace: '' }),
      ),
    );
}

function byFlags(
  flagged: Compared['flagged'],
): readonly { readonly flags: readonly string[]; readonly uids: readonly number[] }[] {
  const groups = new Map<string, { flags: readonly string[]; uids: number[] }>();
  for (const { uid, flags } of flagged) {
    const group = groups.get(flags.join(' ')) ?? { flags, uids: [] };
    groups.set(flags.join(' '), group);
    group.uids.push(uid);
  }
  return [...groups.values()];
}
